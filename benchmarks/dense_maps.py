"""Dense maps of trained cells, to which other results are compared; stored, so that an interrupted
benchmark resumes.
"""

from __future__ import annotations

from pathlib import Path

from betaplane.maps import map_phases
from betaplane.maps.phase_map import PhaseMap
from betaplane.problems import Problem

FOLDER = Path(".benchmarks")  # ignored by git; delete it after a change to training
POINTS = 16


def dense_map(problem: Problem, name: str, seeds: int = 1) -> PhaseMap:
    """The map of 16 x 16 cells, all trained; `name` is the problem's reference."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name} batch {problem.batch_size} seeds {seeds}.sqlite"
    return map_phases(
        problem, points=POINTS, seeds=seeds, boundary_seeds=seeds, dense=True, workers=0, store=file
    )

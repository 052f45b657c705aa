"""Dense maps of trained cells, the truth that other figures are held against; kept, so that a
broken run goes on.
"""

from __future__ import annotations

from pathlib import Path

from betaplane.maps import map_phases
from betaplane.maps.phase_map import PhaseMap
from betaplane.problems import Problem

KEPT = Path(".benchmarks")  # git ignores it; delete it after a change to how runs are trained
POINTS = 16


def dense_map(problem: Problem, name: str, seeds: int = 1) -> PhaseMap:
    """Every cell of 16 x 16 trained, with as many seeds each; `name` is the problem's reference."""
    KEPT.mkdir(exist_ok=True)
    file = KEPT / f"{name} batch {problem.batch_size} seeds {seeds}.sqlite"
    return map_phases(
        problem, points=POINTS, seeds=seeds, boundary_seeds=seeds, dense=True, workers=0, store=file
    )

"""Maps that several benchmarks use, with their runs in a folder, so that nothing is trained twice and
an interrupted benchmark resumes.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from betaplane.executors import Local
from betaplane.maps import map_phases
from betaplane.maps.engine import choose_engine
from betaplane.maps.phase_map import PhaseMap
from betaplane.maps.plan import plan_for
from betaplane.maps.resources import opened
from betaplane.maps.scheduler import RunScheduler
from betaplane.maps.trials import Trials
from betaplane.problems import Problem, Trainer
from betaplane.replicas import chunk_size

FOLDER = Path(".benchmarks")  # ignored by git; delete it after a change to training
POINTS = 16  # per side of a dense map
SIDE = 8  # cells per side of the map of a problem that is judged


def dense_map(problem: Problem, name: str, seeds: int = 1) -> PhaseMap:
    """The map of 16 x 16 cells, all trained; `name` is the problem's reference."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name} batch {problem.batch_size} seeds {seeds}.sqlite"
    return map_phases(
        problem, points=POINTS, seeds=seeds, boundary_seeds=seeds, dense=True, workers=0, store=file
    )


def small_map(source: str, **how: Any) -> PhaseMap:
    """The map of 8 x 8 cells of a problem, given as a reference."""
    store = small_store(source)
    return map_phases(source, points=SIDE, workers=1, progress=False, store=store, **how)


def small_store(source: str) -> Path:
    """The file of the runs of `small_map`."""
    FOLDER.mkdir(exist_ok=True)
    return FOLDER / f"{Path(source).name} {SIDE}.sqlite"


def open_trials(
    problem: Problem | Trainer, store: Path, stack: ExitStack, runs: int, workers: int = 1
) -> Trials:
    """What trains settings of a problem; finished runs are kept in a store.

    Args:
        problem: what is trained.
        store: file of the store.
        stack: closes store and workers.
        runs: about how many runs are to come, by which the engine is chosen.
        workers: worker processes; 0 trains in this process.
    """
    plan = plan_for(problem)
    executor, kept, _ = stack.enter_context(opened(problem, store, Local(workers)))
    engine = choose_engine(problem, plan, executor, plan.run((0, 0), 0), runs, kept.meta).engine
    chunk = chunk_size(problem, engine, False)
    return Trials(plan, RunScheduler(plan, executor, kept, engine, chunk, lambda _: None))

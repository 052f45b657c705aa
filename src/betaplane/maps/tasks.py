"""Requested runs, and the chunks in which they are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from betaplane.replicas import Run

STEP_EXAMPLES = 32  # whose work about equals what a step costs at any batch size


class Task(NamedTuple):
    """One requested run."""

    key: str  # see `Plan.key`
    run: Run


def chunks_of(tasks: Sequence[Task], size: int, steps: int) -> list[list[Task]]:
    """Tasks that are trained together: one seed, one batch size and one variant of the problem, in
    the order requested.

    Chunks of long runs come first, so that none of them starts when the other workers have nothing
    left to do. Finished tasks are not removed first, so that a killed map resumes with the same
    chunks.

    Args:
        tasks: the requested runs.
        size: the largest number of tasks in a chunk, >= 1.
        steps: of a run that has no number of its own.

    Example:
        >>> from betaplane.rules import Adam
        >>> runs = [Run(Adam(), 0.1, batch_size, seed) for batch_size in (4, 64) for seed in (1, 0)]
        >>> chunks = chunks_of([Task(f"{run.batch_size}, {run.seed}", run) for run in runs], 2, 100)
        >>> [[task.key for task in chunk] for chunk in chunks]
        [['64, 0'], ['64, 1'], ['4, 0'], ['4, 1']]
    """
    groups: dict[tuple, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: task.run.seed):
        groups.setdefault((task.run.batch_size, task.run.variant, task.run.seed), []).append(task)
    longest_first = sorted(
        groups.values(), key=lambda group: _work(group[0].run, steps), reverse=True
    )
    return [group[i : i + size] for group in longest_first for i in range(0, len(group), size)]


def _work(run: Run, steps: int) -> int:
    """Grows with the expected time of a run, by which runs of one problem can be compared."""
    return (run.steps or steps) * (run.batch_size + STEP_EXAMPLES)

"""What a map announces before it starts, and the number of runs to train together."""

from __future__ import annotations

from dataclasses import dataclass

from betaplane.maps.plan import Plan
from betaplane.replicas import Speeds


@dataclass(frozen=True)
class Estimate:
    """The engine and the expected number of runs of a map that starts; see `cost` for its time."""

    engine: str
    speeds: Speeds | None  # None if nothing was measured
    trainings: int  # expected number of runs
    stored: int  # runs that are already in the store


def affordable_chunk(plan: Plan, speeds: Speeds | None, largest: int) -> int:
    """Runs to train together: fewer under a short time limit, since a chunk that has begun is
    finished.
    """
    if plan.seconds is None or speeds is None:
        return largest
    run_steps_per_second = max(speeds.stacked, speeds.plain)
    in_time = int(run_steps_per_second * plan.seconds / (4 * plan.steps))
    return max(1, min(largest, in_time))

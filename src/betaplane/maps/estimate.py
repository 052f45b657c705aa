"""Estimate the cost of a map before it starts, and the number of runs to train together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from betaplane.maps.plan import Plan
from betaplane.replicas import Speeds

REFINED_SHARE = 0.45  # of a dense map's runs that a refined map usually takes
LR_SEARCH_RUNS = 90  # that the search over learning rates usually takes
REFINED_ROUNDS = 5  # rounds in which a refined map of ordinary size is chosen


@dataclass(frozen=True)
class Estimate:
    """What a map is expected to cost, before it starts."""

    engine: str
    speeds: Speeds | None  # None if nothing was measured
    trainings: int  # expected number of runs
    seconds: float  # expected; nan if unknown
    stored: int  # runs that are already in the store


def estimate_map(
    plan: Plan, engine: str, speeds: Speeds | None, workers: int, stored: int
) -> Estimate:
    """The expected number of runs and seconds of a map.

    Args:
        plan: what the map trains.
        engine: "stacked", "plain" or "callable".
        speeds: measured on one worker; None if nothing was measured.
        workers: worker processes; 0 counts as one.
        stored: runs that are already in the store.
    """
    runs = _expected_runs(plan)
    seconds = float("nan")
    if speeds is not None:
        seconds = runs * plan.steps / max(speeds.stacked, speeds.plain)
        if engine == "stacked" and speeds.plain:
            seconds += _expected_stacks(plan) * plan.steps / speeds.plain
        seconds /= max(1, workers)
    return Estimate(engine, speeds, runs, seconds, stored)


def _expected_runs(plan: Plan) -> int:
    cells = plan.shape[0] * plan.shape[1]
    runs = round(cells * plan.seeds * (1.0 if plan.dense else REFINED_SHARE))
    searched = LR_SEARCH_RUNS if plan.search_lr and plan.trainings is None else 0
    return min(runs + searched, plan.trainings or runs + searched)


def _expected_stacks(plan: Plan) -> int:
    """Stacks trained one after another, each of which takes at least as long as one run.

    No stack contains runs of two seeds, two batch sizes or two variants of the problem.
    """
    apart = ("batch_size", *plan.problem_options)
    sizes = [len(axis) for axis in (plan.x, plan.y) if axis.name in apart]
    return (plan.seeds if plan.dense else REFINED_ROUNDS * plan.boundary_seeds) * math.prod(sizes)


def affordable_chunk(plan: Plan, speeds: Speeds | None, largest: int) -> int:
    """Runs to train together: fewer under a short time limit, since a chunk that has begun is
    finished.
    """
    if plan.seconds is None or speeds is None:
        return largest
    run_steps_per_second = max(speeds.stacked, speeds.plain)
    in_time = int(run_steps_per_second * plan.seconds / (4 * plan.steps))
    return max(1, min(largest, in_time))

"""What a plan requests: which cells, and whether learning rates are compared."""

from __future__ import annotations

from betaplane.maps.plan import Plan, default_values
from betaplane.maps.sampling.ask_tell import Chooser, Dense, Refine
from betaplane.problems import Problem, Trainer


def chooser_of(plan: Plan, imported: int = 0) -> Chooser:
    """The chooser of a plan's cells.

    Args:
        plan: what the map trains.
        imported: imported runs on the map, which do not count as runs of a limited number.
    """
    if plan.dense:
        return Dense(plan.shape, seeds=plan.seeds)
    boundary_seeds = max(plan.seeds, plan.boundary_seeds)
    budget = None if plan.trainings is None else plan.trainings + imported
    return Refine(plan.shape, seeds=plan.seeds, boundary_seeds=boundary_seeds, budget=budget)


def searches_lr(problem: Problem | Trainer, plan: Plan) -> bool:
    """Whether the map compares learning rates: its settings are compared by their losses, and their
    number is not limited.
    """
    unused_lr = isinstance(problem, Trainer) and not problem.uses_lr
    compares = plan.options.judge == "loss" and plan.score == "linear"
    wanted = plan.search_lr and plan.trainings is None and bool(default_values(plan))
    return wanted and compares and not unused_lr

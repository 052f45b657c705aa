"""Healthy and failing runs, drawn by a seed from problems, optimizers, schedules and causes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks.failures.problems import tasks
from benchmarks.failures.recipes import SCHEDULES, log_uniform, recipe, scheduled
from benchmarks.failures.runs import Run, make_run
from benchmarks.failures.second_moment_failures import (
    appearing_features,
    dominating_eps,
    growing_gradients,
    incompatible_betas,
    rare_steep_examples,
    rare_steep_losses,
    sixteen_bit_training,
)
from benchmarks.failures.training_failures import (
    dead_units,
    edge_of_stability,
    incomplete_resume,
    large_lr,
    missing_warmup,
    non_finite_values,
    other_data,
    shrinking_weights,
)


def healthy(count: int, seed: int) -> Iterator[Run]:
    """Runs without a planted cause; the kinds of problem alternate."""
    r = random.Random(f"healthy {seed}")
    for i in range(count):
        kinds = tasks(r)
        task = kinds[[*kinds][i % len(kinds)]]()
        lr, schedule = log_uniform(r, task.low, task.high), r.choice(SCHEDULES)
        setup, every = recipe(r, lr), r.choice([1, 2, 5, 10])
        before = scheduled(lr, schedule, task.steps)
        yield make_run(task, setup, "", every, schedule, before=before, seed=r.randrange(1000))


def failing(count: int, seed: int) -> Iterator[Run]:
    """Runs with one planted cause each; the causes alternate."""
    r = random.Random(f"failing {seed}")
    causes = [*CAUSES]
    for i in range(count):
        cause = causes[i % len(causes)]
        yield CAUSES[cause](r, cause)


CAUSES: dict[str, Callable[[random.Random, str], Run]] = {
    "stale second moment": lambda r, cause: r.choice([growing_gradients, appearing_features])(
        r, cause
    ),
    "second moment too noisy": lambda r, cause: r.choice([rare_steep_losses, rare_steep_examples])(
        r, cause
    ),
    "beta1^2 >= beta2": incompatible_betas,
    "eps dominates": dominating_eps,
    "second moment underflow": sixteen_bit_training,
    "adaptive edge of stability": edge_of_stability,
    "warmup too short": missing_warmup,
    "step count wrong": incomplete_resume,
    "dead rows": dead_units,
    "non-finite gradients": non_finite_values,
    "sudden data change": other_data,
    "learning rate too large": large_lr,
    "weight norm drift": shrinking_weights,
}

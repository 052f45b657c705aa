"""`Run`, a training run that can be repeated, with its description and shared random draws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from benchmarks.failures.problems import Task, tasks
from benchmarks.failures.recipes import log_uniform
from benchmarks.failures.remedies import Recipe
from benchmarks.failures.training import train

DENSE_KINDS = ["logistic", "mlp", "deep", "normed", "convnet", "label noise", "regression"]
ALL_KINDS = [*DENSE_KINDS, "batch 4", "tokens", "rare words", "text"]


@dataclass(frozen=True)
class Run:
    """A training run that can be repeated any number of times."""

    name: str
    kind: str  # of problem; thresholds are cross-validated over kinds
    cause: str  # the planted cause, or ""
    train: Callable[..., tuple[Any, nn.Module, list[float]]]
    planted: int = 8  # step of the planted cause


def _description(task: Task, setup: Recipe, *others: object) -> str:
    betas = ", ".join(f"{beta:g}" for beta in setup.options["betas"])
    own = setup.kind.__module__.startswith("betaplane")
    parts = [
        f"batch {task.problem.batch_size}",
        f"{'our ' if own else ''}{setup.kind.__name__}({betas})",
    ]
    return ", ".join([task.kind, *parts, f"lr {setup.options['lr']:.2g}", *map(str, others)])


def make_run(task: Task, setup: Recipe, cause: str, every: int, *others: object, **how: Any) -> Run:
    steps, planted = how.pop("steps", task.steps), how.pop("planted", 8)
    call = partial(train, task.problem, steps, setup, every=every, **how)
    return Run(
        _description(task, setup, f"every {every}", *others), task.kind, cause, call, planted
    )


def draw_task(r: random.Random, names: list[str]) -> tuple[Task, float]:
    task = tasks(r)[r.choice(names)]()
    return task, log_uniform(r, task.low, task.high)


def draw_step(r: random.Random) -> int:
    return r.randrange(80, 150)

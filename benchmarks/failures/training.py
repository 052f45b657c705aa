"""Train a problem with a watched optimizer, with changes to its batches, gradients or remedy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.failures.remedies import Recipe, apply_remedy
from betaplane.monitor import Alert, Watcher, watch
from betaplane.problems import minibatches
from betaplane.problems.problem import Problem

Batch = tuple[Tensor, Tensor]


def train(
    problem: Problem,
    steps: int,
    make: Callable[[Any], torch.optim.Optimizer],
    seed: int = 0,
    model: nn.Module | None = None,
    feed: Callable[[int, Tensor, Tensor], Batch] = lambda step, x, y: (x, y),
    before: Callable[
        [int, torch.optim.Optimizer, nn.Module], None
    ] = lambda step, optimizer, model: None,
    after: Callable[[Watcher], None] = lambda watcher: None,
    watched: bool = True,
    every: int = 1,
    alert: Alert | None = None,
    **options: Any,
) -> tuple[Watcher | None, nn.Module, list[float]]:
    """Train with a plain loop and watch it.

    `feed` may change a batch, and `before` the optimizer or gradients before a step (counted from
    1). If an alert is given, the run uses its remedy.
    """
    remedy = {**alert.remedy, "layer": alert.layer} if alert is not None else {}
    model = model or problem.fresh(seed)
    optimizer = (make.remedied(remedy) if isinstance(make, Recipe) else make)(
        model.named_parameters()
    )
    options = {"budget": math.inf, "console": False, **options}
    watcher = watch(optimizer, every=every, **options) if watched else None
    losses = []
    blocks = minibatches(problem.examples, problem.batch_size, problem.order, seed, 64)
    rows = itertools.chain.from_iterable(blocks)
    for step, indices in zip(range(1, steps + 1), rows, strict=False):
        if step == remedy.get("skip"):
            continue
        x, y = feed(step, problem.inputs[indices], problem.targets[indices])
        optimizer.zero_grad()
        loss = problem.loss(model(x), y)
        loss.backward()
        before(step, optimizer, model)
        apply_remedy(step, alert.step if alert is not None else 0, optimizer, model, remedy)
        if watcher is not None:
            watcher.loss(loss)
        optimizer.step()
        losses.append(loss.item())
        if watcher is not None:
            after(watcher)
    if watcher is not None:
        watcher.close()
    return watcher, model, losses


def adam(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), **options: Any) -> Recipe:
    return Recipe(torch.optim.AdamW, {"lr": lr, "betas": betas, **options})

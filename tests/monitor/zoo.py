"""Small runs on the digits, each with one planted cause or none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.monitor import Watcher, watch
from betaplane.problems import counterexample, digits, minibatches, sparse
from betaplane.problems.problem import Problem

Batch = tuple[Tensor, Tensor]


def train(
    problem: Problem,
    steps: int,
    make: Callable[[Any], torch.optim.Optimizer],
    seed: int = 0,
    model: nn.Module | None = None,
    feed: Callable[[int, Tensor, Tensor], Batch] = lambda step, x, y: (x, y),
    before: Callable[[int, torch.optim.Optimizer, nn.Module], None] = lambda step, optimizer, model: None,
    watched: bool = True,
    every: int = 1,
    **options: Any,
) -> tuple[Watcher | None, nn.Module, list[float]]:
    """Train with a plain loop; `feed` may change a batch, `before` the optimizer before a step (counted from 1)."""
    model = model or problem.fresh(seed)
    optimizer = make(model.named_parameters())
    options = {"budget": math.inf, "console": False, **options}
    watcher = watch(optimizer, every=every, **options) if watched else None
    losses = []
    blocks = minibatches(problem.examples, problem.batch_size, problem.order, seed, 64)
    rows = itertools.chain.from_iterable(blocks)
    for step, chosen in zip(range(1, steps + 1), rows, strict=False):
        x, y = feed(step, problem.inputs[chosen], problem.targets[chosen])
        optimizer.zero_grad()
        loss = problem.loss(model(x), y)
        loss.backward()
        before(step, optimizer, model)
        if watcher is not None:
            watcher.loss(loss)
        optimizer.step()
        losses.append(loss.item())
    if watcher is not None:
        watcher.close()
    return watcher, model, losses


def adam(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), **options: Any) -> Callable[[Any], Any]:
    return lambda params: torch.optim.AdamW(params, lr=lr, betas=betas, **options)


def quiet_then_loud(step: int, x: Tensor, y: Tensor) -> Batch:
    """Half the pixels hardly show until step 300; then they come up within 20 steps."""
    loud = min(1.0, 0.001 * 1000 ** max(0.0, (step - 300) / 20))
    scale = torch.ones(64)
    scale[:32] = loud
    return x * scale, y


def wrong_batch(step: int, x: Tensor, y: Tensor) -> Batch:
    """One batch of other data: pixels twenty times as bright, and labels of the next digit."""
    return (x * 20, (y + 1) % 10) if step == 200 else (x, y)


def forget_the_count(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A resume that loads the moments but not the count."""
    if step == 100:
        for state in optimizer.state.values():
            state["step"].zero_()


def forget_the_moments(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A resume that loads the count but not the moments."""
    if step == 100:
        for state in optimizer.state.values():
            state["exp_avg"].zero_()
            state["exp_avg_sq"].zero_()


def break_a_gradient(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """One NaN."""
    if step == 60:
        next(model.parameters()).grad[3, 5] = math.nan


def dead_units() -> nn.Module:
    """20 of the 32 hidden units never fire."""
    model = digits().fresh(0)
    with torch.no_grad():
        model[0].bias[:20] = -100.0
    return model


def small_loss(factor: float) -> Problem:
    problem = digits()
    return problem.with_(loss=lambda output, target: factor * problem.loss(output, target))


PLANTED: dict[str, Callable[[], tuple[Any, ...]]] = {
    "stale second moment": lambda: train(digits(), 330, adam(3e-3, (0.9, 0.9999)), feed=quiet_then_loud, every=3),
    "sudden data change": lambda: train(digits(), 200, adam(), feed=wrong_batch, every=5),
    "step count wrong": lambda: train(digits(), 100, adam(), before=forget_the_count, every=10),
    "step count wrong, moments lost": lambda: train(digits(), 100, adam(), before=forget_the_moments, every=10),
    "non-finite gradients": lambda: train(digits(), 70, adam(), before=break_a_gradient, every=10),
    "dead rows": lambda: train(digits(), 80, adam(), model=dead_units()),
    "learning rate too large": lambda: train(digits(), 40, adam(1.0), every=10),
    "learning rate too large, later": lambda: train(
        digits(),
        210,
        adam(),
        every=3,
        before=lambda step, optimizer, model: optimizer.param_groups[0].update(lr=1e-3 if step < 200 else 3.0),
    ),
    "eps dominates": lambda: train(small_loss(1e-6), 40, adam(1e-3, eps=1e-6)),
    "adaptive edge of stability": lambda: train(digits(batch_size=1797), 60, adam(0.05, (0.0, 0.99999)), every=2),
    "second moment too noisy": lambda: train(counterexample(), 80, adam(0.01, (0.0, 0.3))),
    "beta1^2 >= beta2": lambda: train(digits(), 20, adam(1e-3, (0.95, 0.85))),
    "second moment lost in its type": lambda: train(
        digits().with_(inputs=digits().inputs.half()), 40, adam(1e-3, eps=1e-4), model=digits().fresh(0).half()
    ),
    "second moment lost in its type, standing still": lambda: train(
        digits().with_(inputs=digits().inputs.bfloat16()), 200, adam(), every=10, model=digits().fresh(0).bfloat16()
    ),
}


def conv() -> nn.Module:
    image = nn.Unflatten(1, (1, 8, 8))
    return nn.Sequential(image, nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


def warm(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    optimizer.param_groups[0]["lr"] = 0.01 * min(1.0, step / 50)


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


HEALTHY: dict[str, Callable[[], tuple[Any, ...]]] = {
    "usual": lambda: train(digits(), 300, adam(), every=2),
    "batch 4": lambda: train(digits(batch_size=4), 400, adam(), every=10),
    "batch 4, longer": lambda: train(digits(batch_size=4), 1500, adam(3e-3), every=10),
    "batch 4, beta2 0.95": lambda: train(digits(batch_size=4), 300, adam(1e-3, (0.9, 0.95)), every=2),
    "batch 256": lambda: train(digits(batch_size=256), 200, adam(1e-2), every=2),
    "full batch": lambda: train(digits(batch_size=1797), 60, adam(1e-2), every=1),
    "logistic": lambda: train(digits(model="logistic"), 200, adam(1e-2)),
    "equal betas": lambda: train(digits(hidden=16), 200, adam(3e-3, (0.95, 0.95)), every=2),
    "lr 0.01": lambda: train(digits(), 300, adam(1e-2), every=2),
    "warmup": lambda: train(digits(batch_size=8), 200, adam(1e-2), before=warm, every=2),
    "wide": lambda: train(digits(hidden=128), 100, adam(3e-3), every=2),
    "convolution": lambda: train(digits(batch_size=16), 100, adam(3e-3), model=_seeded(conv), every=2),
    "rare words": lambda: train(sparse(), 150, adam(0.03), every=2),
    "NAdam": lambda: train(digits(), 200, lambda p: torch.optim.NAdam(p, lr=2e-3), every=2),
}

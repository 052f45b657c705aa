"""Small fixed runs, each with one planted cause (`PLANTED`) or none (`HEALTHY`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.failures.problems import noisy_labels, normed, residual, swelling
from benchmarks.failures.training import Batch, adam, train
from betaplane.problems import counterexample, digits, sparse
from betaplane.problems.problem import Problem


def quiet_then_loud(step: int, x: Tensor, y: Tensor) -> Batch:
    """Half of the pixels are almost zero until step 300, and then grow within 20 steps."""
    loud = min(1.0, 0.001 * 1000 ** max(0.0, (step - 300) / 20))
    scale = torch.ones(64)
    scale[:32] = loud
    return x * scale, y


def wrong_batch(step: int, x: Tensor, y: Tensor) -> Batch:
    """One batch of other data: pixels times 20, and the label of the next digit."""
    return (x * 20, (y + 1) % 10) if step == 200 else (x, y)


def reset_step_count(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A resume that restores the moments but not the step count."""
    if step == 100:
        for state in optimizer.state.values():
            state["step"].zero_()


def reset_moments(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A resume that restores the step count but not the moments."""
    if step == 100:
        for state in optimizer.state.values():
            state["exp_avg"].zero_()
            state["exp_avg_sq"].zero_()


def set_gradient_to_nan(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """One element of a gradient becomes NaN."""
    if step == 60:
        next(model.parameters()).grad[3, 5] = math.nan


def dead_units() -> nn.Module:
    """20 of the 32 hidden units are never active."""
    model = digits().fresh(0)
    with torch.no_grad():
        model[0].bias[:20] = -100.0
    return model


def decaying_lr(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A learning rate that decreases to 0 in 300 steps."""
    optimizer.param_groups[0]["lr"] = 0.01 * (1 - (step - 1) / 300)


def small_loss(factor: float) -> Problem:
    problem = digits()
    return problem.with_(loss=lambda output, target: factor * problem.loss(output, target))


def growing_gradients(**how: Any) -> tuple[Any, ...]:
    """Gradients grow 500 times within 25 steps, at an lr at which an overshoot diverges."""
    problem, feed = swelling(digits(batch_size=128), 120, 25, 500.0)
    return train(problem, 180, adam(0.04, (0.9, 0.9999), eps=1e-12), feed=feed, every=3, **how)


PLANTED: dict[str, Callable[..., tuple[Any, ...]]] = {
    "stale second moment": growing_gradients,
    "stale second moment, features that come up": lambda **how: train(
        digits(), 330, adam(3e-3, (0.9, 0.9999)), feed=quiet_then_loud, every=3, **how
    ),
    "sudden data change": lambda **how: train(
        digits(), 200, adam(), feed=wrong_batch, every=5, **how
    ),
    "step count wrong": lambda **how: train(
        digits(), 130, adam(3e-3), before=reset_step_count, every=10, **how
    ),
    "step count wrong, moments lost": lambda **how: train(
        digits(), 108, adam(1e-2), before=reset_moments, every=10, **how
    ),
    "non-finite gradients": lambda **how: train(
        digits(), 70, adam(), before=set_gradient_to_nan, every=10, **how
    ),
    "dead rows": lambda **how: train(digits(), 80, adam(), model=dead_units(), **how),
    "learning rate too large": lambda **how: train(digits(), 40, adam(1.0), every=10, **how),
    "learning rate too large, later": lambda **how: train(
        digits(),
        210,
        adam(),
        every=3,
        before=lambda step, optimizer, model: optimizer.param_groups[0].update(
            lr=1e-3 if step < 200 else 3.0
        ),
        **how,
    ),
    "eps dominates": lambda **how: train(small_loss(1e-6), 40, adam(1e-3, eps=1e-6), **how),
    "adaptive edge of stability": lambda **how: train(
        digits(batch_size=1797), 60, adam(0.05, (0.0, 0.99999)), every=2, **how
    ),
    "second moment too noisy": lambda **how: train(
        counterexample(), 80, adam(0.01, (0.0, 0.3)), **how
    ),
    "beta1^2 >= beta2": lambda **how: train(digits(), 20, adam(1e-3, (0.95, 0.85)), **how),
    "second moment underflow": lambda **how: train(
        digits(batch_size=128).with_(inputs=digits().inputs.half()),
        60,
        adam(1e-2, eps=1e-4),
        model=digits().fresh(0).half(),
        **how,
    ),
    "second moment underflow, standing still": lambda **how: train(
        digits().with_(inputs=digits().inputs.bfloat16()),
        200,
        adam(),
        every=10,
        model=digits().fresh(0).bfloat16(),
        **how,
    ),
    "warmup too short": lambda **how: train(
        digits(batch_size=64).with_(module=lambda: residual(64, 4)), 60, adam(0.03), every=2, **how
    ),
    "weight norm drift": lambda **how: train(
        noisy_labels(0.4, 128).with_(module=lambda: normed(24)),
        300,
        adam(0.01, (0.9, 0.99), weight_decay=5.0),
        before=decaying_lr,
        every=5,
        **how,
    ),
}


def conv() -> nn.Module:
    image = nn.Unflatten(1, (1, 8, 8))
    return nn.Sequential(image, nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


def warmup_lr(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    optimizer.param_groups[0]["lr"] = 0.01 * min(1.0, step / 50)


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


HEALTHY: dict[str, Callable[..., tuple[Any, ...]]] = {
    "defaults": lambda **how: train(digits(), 300, adam(), every=2, **how),
    "batch 4": lambda **how: train(digits(batch_size=4), 400, adam(), every=10, **how),
    "batch 4, longer": lambda **how: train(digits(batch_size=4), 1500, adam(3e-3), every=10, **how),
    "batch 4, beta2 0.95": lambda **how: train(
        digits(batch_size=4), 300, adam(1e-3, (0.9, 0.95)), every=2, **how
    ),
    "batch 256": lambda **how: train(digits(batch_size=256), 200, adam(1e-2), every=2, **how),
    "full batch": lambda **how: train(digits(batch_size=1797), 60, adam(1e-2), every=1, **how),
    "logistic": lambda **how: train(digits(model="logistic"), 200, adam(1e-2), **how),
    "equal betas": lambda **how: train(
        digits(hidden=16), 200, adam(3e-3, (0.95, 0.95)), every=2, **how
    ),
    "lr 0.01": lambda **how: train(digits(), 300, adam(1e-2), every=2, **how),
    "warmup": lambda **how: train(
        digits(batch_size=8), 200, adam(1e-2), before=warmup_lr, every=2, **how
    ),
    "wide": lambda **how: train(digits(hidden=128), 100, adam(3e-3), every=2, **how),
    "convolution": lambda **how: train(
        digits(batch_size=16), 100, adam(3e-3), model=_seeded(conv), every=2, **how
    ),
    "rare words": lambda **how: train(sparse(), 150, adam(0.03), every=2, **how),
    "NAdam": lambda **how: train(
        digits(), 200, lambda p: torch.optim.NAdam(p, lr=2e-3), every=2, **how
    ),
}

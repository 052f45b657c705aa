"""Small runs, each with one planted cause or none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from remedies import Recipe, keep
from torch import Tensor, nn

from betaplane.monitor import Alert, Watcher, watch
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
    before: Callable[
        [int, torch.optim.Optimizer, nn.Module], None
    ] = lambda step, optimizer, model: None,
    after: Callable[[Watcher], None] = lambda watcher: None,
    watched: bool = True,
    every: int = 1,
    alert: Alert | None = None,
    **options: Any,
) -> tuple[Watcher | None, nn.Module, list[float]]:
    """Train with a plain loop; `feed` may change a batch, `before` the optimizer before a step
    (counted from 1).

    With an alarm the run is made with its remedy.
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
    for step, chosen in zip(range(1, steps + 1), rows, strict=False):
        if step == remedy.get("skip"):
            continue
        x, y = feed(step, problem.inputs[chosen], problem.targets[chosen])
        optimizer.zero_grad()
        loss = problem.loss(model(x), y)
        loss.backward()
        before(step, optimizer, model)
        keep(step, alert.step if alert is not None else 0, optimizer, model, remedy)
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


def quiet_then_loud(step: int, x: Tensor, y: Tensor) -> Batch:
    """Half the pixels hardly show until step 300; then they come up within 20 steps."""
    loud = min(1.0, 0.001 * 1000 ** max(0.0, (step - 300) / 20))
    scale = torch.ones(64)
    scale[:32] = loud
    return x * scale, y


def swelling(problem: Problem, start: int, length: int, times: float) -> tuple[Problem, Any]:
    """The problem with gradients that come to be `times` as long, and the feed that makes them so;
    losses stay.
    """
    now = [1.0]

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        now[0] = times ** (min(1.0, max(0.0, (step - start) / length)) - 1)
        return x, y

    def loss(out: Tensor, y: Tensor) -> Tensor:
        """The value of the loss, and `now` times its gradient."""
        value = problem.loss(out, y)
        return value.detach() + now[0] * (value - value.detach())

    return problem.with_(loss=loss), feed


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


class Block(nn.Module):
    """A residual block, normalised after the sum, as the first transformers were."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.inner(x))


def residual(width: int, depth: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 10)
    )


def normed(width: int) -> nn.Module:
    """Batch normalisation where it is narrow, layer normalisation where it is wide."""
    norm = nn.BatchNorm1d if width < 40 else nn.LayerNorm
    return nn.Sequential(nn.Linear(64, width), norm(width), nn.ReLU(), nn.Linear(width, 10))


def noisy_labels(share: float, size: int) -> Problem:
    """Digits, of which a share have a label at random."""
    problem, generator = digits(batch_size=size), torch.Generator().manual_seed(1)
    wrong = torch.rand(len(problem.targets), generator=generator) < share
    other = torch.randint(10, (len(problem.targets),), generator=generator)
    return problem.with_(targets=torch.where(wrong, other, problem.targets))


def falling(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """A learning rate that goes to 0 in 300 steps."""
    optimizer.param_groups[0]["lr"] = 0.01 * (1 - (step - 1) / 300)


def small_loss(factor: float) -> Problem:
    problem = digits()
    return problem.with_(loss=lambda output, target: factor * problem.loss(output, target))


def swollen(**how: Any) -> tuple[Any, ...]:
    """Gradients 500 times as long within 25 steps, at a rate that stands no overshoot."""
    problem, feed = swelling(digits(batch_size=128), 120, 25, 500.0)
    return train(problem, 180, adam(0.04, (0.9, 0.9999), eps=1e-12), feed=feed, every=3, **how)


PLANTED: dict[str, Callable[..., tuple[Any, ...]]] = {
    "stale second moment": swollen,
    "stale second moment, features that come up": lambda **how: train(
        digits(), 330, adam(3e-3, (0.9, 0.9999)), feed=quiet_then_loud, every=3, **how
    ),
    "sudden data change": lambda **how: train(
        digits(), 200, adam(), feed=wrong_batch, every=5, **how
    ),
    "step count wrong": lambda **how: train(
        digits(), 130, adam(3e-3), before=forget_the_count, every=10, **how
    ),
    "step count wrong, moments lost": lambda **how: train(
        digits(), 108, adam(1e-2), before=forget_the_moments, every=10, **how
    ),
    "non-finite gradients": lambda **how: train(
        digits(), 70, adam(), before=break_a_gradient, every=10, **how
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
    "second moment lost in its type": lambda **how: train(
        digits(batch_size=128).with_(inputs=digits().inputs.half()),
        60,
        adam(1e-2, eps=1e-4),
        model=digits().fresh(0).half(),
        **how,
    ),
    "second moment lost in its type, standing still": lambda **how: train(
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
        before=falling,
        every=5,
        **how,
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


HEALTHY: dict[str, Callable[..., tuple[Any, ...]]] = {
    "usual": lambda **how: train(digits(), 300, adam(), every=2, **how),
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
        digits(batch_size=8), 200, adam(1e-2), before=warm, every=2, **how
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

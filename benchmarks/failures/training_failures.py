"""Random runs that fail because of the learning rate, a resume, the data, or the weights."""

from __future__ import annotations

import math
import random
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.failures.problems import (
    Task,
    digits_with,
    noisy_labels,
    normed,
    regression,
    residual,
)
from benchmarks.failures.recipes import log_uniform, recipe, scheduled
from benchmarks.failures.remedies import Recipe
from benchmarks.failures.runs import ALL_KINDS, DENSE_KINDS, Run, draw_step, draw_task, make_run
from betaplane.problems import digits


def edge_of_stability(r: random.Random, cause: str) -> Run:
    """Full batches, so that the loss depends only on curvature, with an unstable learning rate."""
    kind, width = r.choice(["mlp", "mlp", "regression"]), r.choice([16, 24])
    problem = (
        regression(0.1, width, 2048)
        if kind == "regression"
        else digits(hidden=4 * width, batch_size=1797)
    )
    lr = log_uniform(r, 0.1, 0.15) if kind == "regression" else log_uniform(r, 0.04, 0.07)
    setup = Recipe(torch.optim.Adam, {"lr": lr, "betas": (0.0, r.choice([0.9999, 0.99999]))})
    return make_run(Task(kind, problem, 0, 0), setup, cause, r.choice([1, 2]), steps=150)


def missing_warmup(r: random.Random, cause: str) -> Run:
    """No warmup, on deep networks with normalization after the residual sum, which need one."""
    depth, lr = r.choice([4, 5]), log_uniform(r, 0.029, 0.034)
    problem = digits_with(partial(residual, 64, depth), r.choice([64, 128]))
    setup = Recipe(torch.optim.AdamW, {"lr": lr, "betas": (0.9, r.choice([0.99, 0.999]))})
    return make_run(
        Task("residual", problem, 0, 0), setup, cause, r.choice([1, 2]), f"depth {depth}", steps=60
    )


def incomplete_resume(r: random.Random, cause: str) -> Run:
    """A resume that restores only the moments, or only the step count."""
    task, lr = draw_task(r, ALL_KINDS)
    at, lost = 10 * r.randrange(5, 12), r.random() < 0.5

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        for state in optimizer.state.values() if step == at else ():
            for name in ("exp_avg", "exp_avg_sq") if lost else ("step",):
                state[name].zero_()

    setup = recipe(r, lr)
    return make_run(
        task,
        setup,
        cause,
        r.choice([1, 5, 10]),
        "no moments" if lost else "no count",
        before=before,
        steps=at + 20,
    )


def dead_units(r: random.Random, cause: str) -> Run:
    """The biases of most units of a layer become so negative that no input activates them."""
    width, share, at = r.choice([16, 32, 64]), r.uniform(0.5, 0.9), r.choice([1, 1, 60, 100])

    def module() -> nn.Module:
        first, second, last = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)

    problem, which = digits_with(module, r.choice([16, 32, 128])), r.choice([0, 2])

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at:
            with torch.no_grad():
                model[which].bias[: int(share * width)] = -100.0  # pyright: ignore

    setup = recipe(r, log_uniform(r, 5e-4, 5e-3))
    return make_run(
        Task("mlp", problem, 0, 0),
        setup,
        cause,
        r.choice([1, 2, 3]),
        f"{share:.0%} at {at}",
        before=before,
        steps=300,
    )


def non_finite_values(r: random.Random, cause: str) -> Run:
    """One gradient element or one batch that is not finite."""
    task, lr = draw_task(r, DENSE_KINDS)
    at, value, inputs = draw_step(r), r.choice([math.nan, math.inf, -math.inf]), r.random() < 0.5
    share = r.random()

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at and not inputs:
            tensors = [*model.parameters()]
            p = tensors[int(share * len(tensors))]
            p.grad.view(-1)[0] = value  # pyright: ignore

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (torch.full_like(x, value) if step == at and inputs else x), y

    return make_run(
        task,
        recipe(r, lr),
        cause,
        r.choice([1, 5, 10]),
        value,
        before=before,
        feed=feed,
        steps=at + 15,
    )


def other_data(r: random.Random, cause: str) -> Run:
    """One batch from another distribution."""
    task, lr = draw_task(r, ["logistic", "mlp", "deep", "convnet", "regression", "label noise"])
    every, times = r.choice([1, 2, 5]), log_uniform(r, 8, 40)
    at = every * (draw_step(r) // every)

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (times * x, y.roll(1, 0)) if step == at else (x, y)

    return make_run(
        task, recipe(r, lr), cause, every, f"{times:.0f} x at {at}", feed=feed, steps=at + 40
    )


def large_lr(r: random.Random, cause: str) -> Run:
    """A learning rate hundreds of times too large, from the first or a later step on."""
    task, _ = draw_task(r, ["mlp", "deep", "convnet", "label noise", "regression", "text"])
    lr, at = log_uniform(r, 0.5, 5.0), r.choice([1, 1, draw_step(r)])
    setup = recipe(r, lr if at == 1 else task.low, betas=(0.9, r.choice([0.95, 0.999])))

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at:
            optimizer.param_groups[0]["lr"] = lr

    return make_run(
        task,
        setup,
        cause,
        r.choice([1, 5, 10]),
        f"lr {lr:.2g} at {at}",
        before=before,
        steps=at + 60,
    )


def shrinking_weights(r: random.Random, cause: str) -> Run:
    """Normalized layers with weight decay that continues while lr falls: weights shrink, and
    gradients grow.
    """
    width, size = r.choice([24, 64]), r.choice([32, 128])
    problem, steps, lr = (
        noisy_labels(0.4, size).with_(module=partial(normed, width)),
        400,
        log_uniform(r, 5e-3, 1.2e-2),
    )
    setup = Recipe(
        torch.optim.AdamW,
        {
            "lr": lr,
            "betas": (0.9, r.choice([0.95, 0.99])),
            "weight_decay": r.uniform(8, 15) / (steps * lr),
        },
    )
    before = scheduled(lr, r.choice(["linear decay", "warmup and cosine"]), steps)
    label = f"decay {setup.options['weight_decay']:.2g}"
    return make_run(
        Task("normed", problem, 0, 0),
        setup,
        cause,
        r.choice([2, 5, 10]),
        label,
        before=before,
        steps=steps,
    )

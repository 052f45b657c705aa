"""Random runs with a failing second moment: stale, noisy, dominated by eps, or underflowing."""

from __future__ import annotations

import math
import random
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.failures.problems import Task, swelling
from benchmarks.failures.recipes import log_uniform, recipe
from benchmarks.failures.remedies import Recipe
from benchmarks.failures.runs import ALL_KINDS, DENSE_KINDS, Run, draw_step, draw_task, make_run
from betaplane.problems import Problem, counterexample, digits, reddi


def growing_gradients(r: random.Random, cause: str) -> Run:
    """The norm of every gradient grows many times within some steps."""
    task, lr = draw_task(r, [*DENSE_KINDS, "tokens", "text"])
    start, length, times = draw_step(r), r.randrange(10, 40), log_uniform(r, 50, 1000)
    problem, feed = swelling(task.problem, start, length, times)
    task = Task(task.kind, problem, 0, 0, task.steps, task.values)
    setup = recipe(r, lr, betas=(0.9, r.choice([0.999, 0.9999, 0.99999])), eps=1e-12)
    return make_run(
        task,
        setup,
        cause,
        r.choice([1, 2, 3]),
        f"gradients {times:.0f} x in {length}",
        feed=feed,
        steps=200,
    )


def appearing_features(r: random.Random, cause: str) -> Run:
    """Half of the features are almost zero, and then grow to their full size."""
    task, lr = draw_task(r, ["logistic", "mlp", "deep", "regression"])
    start, length, low = draw_step(r) + 50, r.randrange(10, 40), r.choice([1e-3, 3e-3, 1e-2])

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        scale = torch.ones(x.shape[1])
        scale[: x.shape[1] // 2] = low ** (1 - min(1.0, max(0.0, (step - start) / length)))
        return x * scale, y

    setup = recipe(r, lr, betas=(0.9, r.choice([0.999, 0.9999])))
    return make_run(
        task,
        setup,
        cause,
        r.choice([1, 2, 3]),
        f"features from {low} in {length}",
        feed=feed,
        steps=260,
    )


def spiking_loss(r: random.Random, cause: str) -> Run:
    """As `growing_gradients`, but faster and at a learning rate at which an overshoot diverges, so
    that the loss spikes only because of it.
    """
    problem = digits(hidden=r.choice([16, 32, 64]), batch_size=r.choice([32, 128, 512]))
    start, length, times = draw_step(r), r.randrange(10, 30), log_uniform(r, 50, 1000)
    problem, feed = swelling(problem, start, length, times)
    setup = recipe(r, log_uniform(r, 0.01, 0.05), betas=(0.9, r.choice([0.999, 0.9999])), eps=1e-12)
    task = Task("mlp", problem, 0, 0)
    return make_run(
        task,
        setup,
        cause,
        1,
        f"gradients {times:.0f} x at {start} in {length}",
        feed=feed,
        steps=start + 60,
        planted=start,
    )


def rare_steep_losses(r: random.Random, cause: str) -> Run:
    """Rare steep losses among many shallow losses of the opposite sign; beta2's memory is shorter
    than their cycle.
    """
    n, beta1 = r.choice([5, 10, 20]), r.choice([0.0, 0.3, 0.5])
    order = r.choice(["cyclic", "shuffle"])
    problem = r.choice(
        [
            counterexample(n=n, order=order),
            counterexample(n=n, a=0.3, order=order),
            reddi(C=r.choice([3.0, 5.0])),
        ]
    )
    lowest = beta1**2 + 0.02
    beta2 = r.uniform(lowest, min(0.6, max(lowest + 0.1, 1 - 4 / n)))
    setup = Recipe(
        torch.optim.AdamW,
        {"lr": log_uniform(r, 1e-3, 3e-2), "betas": (beta1, round(beta2, 2)), "weight_decay": 0.0},
    )
    return make_run(
        Task("counterexample", problem, 0, 0, 160),
        setup,
        cause,
        r.choice([1, 2, 4]),
        problem.name,
        f"n {n}, {order}",
    )


def rare_steep_examples(r: random.Random, cause: str) -> Run:
    """As `rare_steep_losses`, in many dimensions: the gradient of one example in n exceeds the sum
    of all others.
    """
    n, d, generator = (
        r.choice([8, 16]),
        r.choice([4, 30]),
        torch.Generator().manual_seed(r.randrange(1000)),
    )
    signs = torch.randn(d, generator=generator).sign()
    x = -(1 + 0.1 * torch.randn(n * 50, d, generator=generator)) * signs
    x[::n] = (n + 0.5) * signs * (1 + 0.1 * torch.randn(50, d, generator=generator))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return out.mean() + 1e-3 * out.square().mean()

    problem = Problem(
        "rare steep",
        partial(nn.Linear, d, 1, bias=False),
        loss,
        x,
        torch.zeros(n * 50),
        batch_size=1,
    )
    beta1 = r.choice([0.0, 0.3])
    setup = Recipe(
        torch.optim.Adam,
        {"lr": log_uniform(r, 1e-3, 1e-2), "betas": (beta1, r.choice([0.2, 0.4, 0.6]))},
    )
    return make_run(
        Task("counterexample", problem, 0, 0, 160),
        setup,
        cause,
        r.choice([1, 2, 4]),
        f"n {n}, d {d}",
    )


def incompatible_betas(r: random.Random, cause: str) -> Run:
    """Betas on the wrong side of beta1^2 = beta2."""
    task, lr = draw_task(r, ALL_KINDS)
    beta1 = r.choice([0.9, 0.95, 0.98, 0.99])
    setup = recipe(r, lr, betas=(beta1, round(beta1**2 - r.choice([0.0, 0.02, 0.1]), 4)))
    return make_run(task, setup, cause, r.choice([1, 5, 10]), steps=60)


def dominating_eps(r: random.Random, cause: str) -> Run:
    """eps exceeds most elements of sqrt(v), because eps is large or the loss is small."""
    task, lr = draw_task(r, [*DENSE_KINDS, "tokens"])
    factor, ratio = r.choice([1.0, 1e-3, 1e-6]), log_uniform(r, 3, 100)
    problem = task.problem
    model = problem.fresh(0)
    problem.loss(model(problem.inputs[:64]), problem.targets[:64]).backward()
    size = max(
        p.grad[p.grad != 0].abs().median().item() for p in model.parameters() if p.grad is not None
    )
    task = Task(task.kind, problem.with_(loss=lambda out, y: factor * problem.loss(out, y)), 0, 0)
    setup = recipe(r, lr, eps=ratio * factor * size * math.sqrt(64 / min(64, problem.batch_size)))
    return make_run(
        task, setup, cause, r.choice([1, 5, 10]), f"eps {setup.options['eps']:.1g}", steps=80
    )


def sixteen_bit_training(r: random.Random, cause: str) -> Run:
    """Weights and state in 16 bits: v underflows in float16 and stops changing in bfloat16."""
    task, lr = draw_task(r, ["logistic", "mlp", "deep"])
    half = r.random() < 0.5
    dtype = torch.float16 if half else torch.bfloat16
    problem = task.problem.with_(inputs=task.problem.inputs.to(dtype))
    module = problem.module
    problem = problem.with_(module=lambda: module().to(dtype))
    eps, beta2 = (1e-4, 0.99) if half else (1e-8, 0.999)
    setup = recipe(r, lr, eps=eps, betas=(0.9, beta2))
    setup = Recipe(torch.optim.AdamW, setup.options)
    return make_run(
        Task(task.kind, problem, 0, 0),
        setup,
        cause,
        r.choice([1, 5, 10]),
        str(dtype),
        steps=120 if half else 250,
    )

"""Kin of the zoo's runs: drawn at random from problems, optimizers, schedules and plants, by a
seed.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import betaplane
from betaplane.problems import Problem, counterexample, digits, reddi, sparse, text, valley

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "monitor"))
from remedies import Recipe
from zoo import HEALTHY, PLANTED, noisy_labels, normed, residual, swelling, train

__all__ = ["HEALTHY", "PLANTED", "PLANTS", "Run", "edge", "failing", "healthy", "spiking"]


@dataclass(frozen=True)
class Run:
    """One training run, to be made any number of times."""

    name: str
    kind: str  # of problem: what is left out when thresholds are chosen on the others
    cause: str  # that was planted, "" for none
    train: Callable[..., tuple[Any, nn.Module, list[float]]]
    planted: int = 8  # steps before the plant


@dataclass(frozen=True)
class Task:
    """A problem with the learning rates at which it trains well."""

    kind: str
    problem: Problem
    low: float
    high: float
    steps: int = 200
    values: bool = True  # inputs are numbers, not indices


# What is trained.


def tasks(r: random.Random) -> dict[str, Callable[[], Task]]:
    """One of each kind of problem, its sizes drawn."""
    size = r.choice([8, 16, 32, 128, 512])
    width = r.choice([16, 24, 48, 96])
    return {
        "logistic": lambda: Task("logistic", digits(model="logistic", batch_size=size), 1e-3, 2e-2),
        "mlp": lambda: Task("mlp", digits(hidden=width, batch_size=size), 5e-4, 1e-2),
        "batch 4": lambda: Task("batch 4", digits(hidden=width, batch_size=4), 3e-4, 3e-3, 400),
        "deep": lambda: Task("deep", _digits(partial(deep, width), size), 3e-4, 3e-3),
        "normed": lambda: Task("normed", _digits(partial(normed, width), size), 1e-3, 1e-2),
        "convnet": lambda: Task(
            "convnet", _digits(partial(convnet, r.choice([4, 8])), size), 1e-3, 5e-3, 150
        ),
        "label noise": lambda: Task(
            "label noise", noisy_labels(r.choice([0.1, 0.3]), size), 5e-4, 5e-3
        ),
        "regression": lambda: Task(
            "regression", regression(r.choice([0.1, 1.0]), width, size), 1e-3, 1e-2
        ),
        "tokens": lambda: Task("tokens", tokens(size), 3e-3, 3e-2, values=False),
        "rare words": lambda: Task("rare words", sparse(batch_size=size), 1e-2, 1e-1, values=False),
        "text": lambda: Task(
            "text",
            text(width=16, layers=1, context=16, batch_size=8),
            1e-3,
            1e-2,
            150,
            values=False,
        ),
        "valley": lambda: Task(
            "valley", valley(condition=100.0, noise=0.1, dimension=20), 3e-3, 1e-2
        ),
    }


def _digits(module: Callable[[], nn.Module], size: int) -> Problem:
    return digits(batch_size=size).with_(module=module)


def deep(width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(64, width), nn.GELU()]
    for _ in range(2):
        layers += [nn.Linear(width, width), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def convnet(channels: int) -> nn.Module:
    image, last = nn.Unflatten(1, (1, 8, 8)), nn.Linear(4 * channels * 4, 10)
    first, second = (
        nn.Conv2d(1, channels, 3, padding=1),
        nn.Conv2d(channels, 4 * channels, 3, padding=1),
    )
    return nn.Sequential(
        image,
        first,
        nn.ReLU(),
        nn.MaxPool2d(2),
        second,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        last,
    )


def regression(noise: float, width: int, size: int) -> Problem:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2048, 20, generator=generator)
    y = (x @ torch.randn(20, 3, generator=generator) / 4).tanh() + noise * torch.randn(
        2048, 3, generator=generator
    )

    def module() -> nn.Module:
        return nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, 3))

    return Problem("regression", module, nn.functional.mse_loss, x, y, batch_size=size)


def tokens(size: int) -> Problem:
    """The last of eight Zipf-distributed tokens decides the class; most rows of the embedding are
    rare.
    """
    generator = torch.Generator().manual_seed(3)
    weights = torch.arange(1, 501).float() ** -1.2
    x = torch.multinomial(weights.expand(4096, -1), 8, replacement=True, generator=generator)
    classes = torch.randint(8, (500,), generator=generator)

    def module() -> nn.Module:
        return nn.Sequential(nn.Embedding(500, 8), nn.Flatten(), nn.Linear(64, 8))

    return Problem(
        "tokens", module, nn.functional.cross_entropy, x, classes[x[:, -1]], batch_size=size
    )


# How it is trained.

BETAS = [
    (0.9, 0.999),
    (0.9, 0.999),
    (0.9, 0.99),
    (0.9, 0.95),
    (0.8, 0.95),
    (0.95, 0.99),
    (0.0, 0.999),
    (0.9, 0.98),
]
KINDS = [
    torch.optim.AdamW,
    torch.optim.Adam,
    torch.optim.NAdam,
    torch.optim.RAdam,
    betaplane.AdamW,
    betaplane.Adam,
]
SCHEDULES = [
    "constant",
    "constant",
    "warmup and cosine",
    "linear decay",
    "one cycle",
    "stable, then decay",
]
SHORT = 20  # steps of warmup


def scheduled(name: str, step: int, steps: int) -> float:
    """The share of the full learning rate at a step, counted from 1."""
    rise, done = min(1.0, step / SHORT), (step - 1) / steps
    return {
        "constant": 1.0,
        "warmup and cosine": rise * (1 + math.cos(math.pi * done)) / 2,
        "linear decay": 1 - done,
        "one cycle": math.sin(math.pi * (step / (steps + 1))),
        "stable, then decay": rise * min(1.0, 4 * (1 - done)),
    }[name]


Before = Callable[[int, torch.optim.Optimizer, nn.Module], None]


def paced(
    lr: float, schedule: str, steps: int, then: Before = lambda step, optimizer, model: None
) -> Before:
    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr * scheduled(schedule, step, steps)
        then(step, optimizer, model)

    return before


def _between(r: random.Random, low: float, high: float) -> float:
    return math.exp(r.uniform(math.log(low), math.log(high)))


def recipe(r: random.Random, lr: float, **numbers: Any) -> Recipe:
    """An optimizer of any kind; `numbers` are kept."""
    usual = {
        "betas": r.choice(BETAS),
        "weight_decay": r.choice([0.0, 0.01, 0.1]),
        "eps": r.choice([1e-8, 1e-10]),
    }
    kind = r.choice(KINDS)
    # theirs enters the gradient
    if kind in (torch.optim.Adam, betaplane.Adam, torch.optim.RAdam, torch.optim.NAdam):
        usual["weight_decay"] = 0.0
    return Recipe(kind, {"lr": lr, **usual, **numbers})


def _told(task: Task, made: Recipe, *others: object) -> str:
    betas = ", ".join(f"{beta:g}" for beta in made.options["betas"])
    own = made.kind.__module__.startswith("betaplane")
    parts = [
        f"batch {task.problem.batch_size}",
        f"{'our ' if own else ''}{made.kind.__name__}({betas})",
    ]
    return ", ".join([task.kind, *parts, f"lr {made.options['lr']:.2g}", *map(str, others)])


def _run(task: Task, made: Recipe, cause: str, every: int, *others: object, **how: Any) -> Run:
    steps, planted = how.pop("steps", task.steps), how.pop("planted", 8)
    call = partial(train, task.problem, steps, made, every=every, **how)
    return Run(_told(task, made, f"every {every}", *others), task.kind, cause, call, planted)


def healthy(count: int, seed: int) -> Iterator[Run]:
    """Runs with nothing planted, the kinds of problem in turn."""
    r = random.Random(f"healthy {seed}")
    for i in range(count):
        kinds = tasks(r)
        task = kinds[[*kinds][i % len(kinds)]]()
        lr, schedule = _between(r, task.low, task.high), r.choice(SCHEDULES)
        made, every = recipe(r, lr), r.choice([1, 2, 5, 10])
        before = paced(lr, schedule, task.steps)
        yield _run(task, made, "", every, schedule, before=before, seed=r.randrange(1000))


# What fails, and why.


def failing(count: int, seed: int) -> Iterator[Run]:
    """Runs with a plant each, the causes in turn."""
    r = random.Random(f"failing {seed}")
    plants = [*PLANTS]
    for i in range(count):
        name = plants[i % len(plants)]
        yield PLANTS[name](r, name)


DENSE = ["logistic", "mlp", "deep", "normed", "convnet", "label noise", "regression"]
ANY = [*DENSE, "batch 4", "tokens", "rare words", "text"]


def _drawn(r: random.Random, names: list[str]) -> tuple[Task, float]:
    task = tasks(r)[r.choice(names)]()
    return task, _between(r, task.low, task.high)


def _step(r: random.Random) -> int:
    return r.randrange(80, 150)


def grown(r: random.Random, cause: str) -> Run:
    """Every gradient comes to be many times as long, within some steps."""
    task, lr = _drawn(r, [*DENSE, "tokens", "text"])
    start, length, times = _step(r), r.randrange(10, 40), _between(r, 50, 1000)
    problem, feed = swelling(task.problem, start, length, times)
    task = Task(task.kind, problem, 0, 0, task.steps, task.values)
    made = recipe(r, lr, betas=(0.9, r.choice([0.999, 0.9999, 0.99999])), eps=1e-12)
    return _run(
        task,
        made,
        cause,
        r.choice([1, 2, 3]),
        f"gradients {times:.0f} x in {length}",
        feed=feed,
        steps=200,
    )


def loud(r: random.Random, cause: str) -> Run:
    """Half of the features hardly show, and then do."""
    task, lr = _drawn(r, ["logistic", "mlp", "deep", "regression"])
    start, length, low = _step(r) + 50, r.randrange(10, 40), r.choice([1e-3, 3e-3, 1e-2])

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        scale = torch.ones(x.shape[1])
        scale[: x.shape[1] // 2] = low ** (1 - min(1.0, max(0.0, (step - start) / length)))
        return x * scale, y

    made = recipe(r, lr, betas=(0.9, r.choice([0.999, 0.9999])))
    return _run(
        task,
        made,
        cause,
        r.choice([1, 2, 3]),
        f"features from {low} in {length}",
        feed=feed,
        steps=260,
    )


def spiking(r: random.Random, cause: str) -> Run:
    """As `grown`, quickly, and at a rate that stands no overshoot; the value of the loss shows
    nothing else.
    """
    problem = digits(hidden=r.choice([16, 32, 64]), batch_size=r.choice([32, 128, 512]))
    start, length, times = _step(r), r.randrange(10, 30), _between(r, 50, 1000)
    problem, feed = swelling(problem, start, length, times)
    made = recipe(r, _between(r, 0.01, 0.05), betas=(0.9, r.choice([0.999, 0.9999])), eps=1e-12)
    task = Task("mlp", problem, 0, 0)
    return _run(
        task,
        made,
        cause,
        1,
        f"gradients {times:.0f} x at {start} in {length}",
        feed=feed,
        steps=start + 60,
        planted=start,
    )


def noisy(r: random.Random, cause: str) -> Run:
    """Rare steep losses among many shallow ones of the other sign, and a memory shorter than their
    cycle.
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
    made = Recipe(
        torch.optim.AdamW,
        {"lr": _between(r, 1e-3, 3e-2), "betas": (beta1, round(beta2, 2)), "weight_decay": 0.0},
    )
    return _run(
        Task("counterexample", problem, 0, 0, 160),
        made,
        cause,
        r.choice([1, 2, 4]),
        problem.name,
        f"n {n}, {order}",
    )


def rare_steep(r: random.Random, cause: str) -> Run:
    """As `noisy`, in many dimensions: one example in n pushes every weight back by more than all
    others together.
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
    made = Recipe(
        torch.optim.Adam,
        {"lr": _between(r, 1e-3, 1e-2), "betas": (beta1, r.choice([0.2, 0.4, 0.6]))},
    )
    return _run(
        Task("counterexample", problem, 0, 0, 160),
        made,
        cause,
        r.choice([1, 2, 4]),
        f"n {n}, d {d}",
    )


def coupled(r: random.Random, cause: str) -> Run:
    """Betas on the wrong side of beta1^2 = beta2."""
    task, lr = _drawn(r, ANY)
    beta1 = r.choice([0.9, 0.95, 0.98, 0.99])
    made = recipe(r, lr, betas=(beta1, round(beta1**2 - r.choice([0.0, 0.02, 0.1]), 4)))
    return _run(task, made, cause, r.choice([1, 5, 10]), steps=60)


def swallowed(r: random.Random, cause: str) -> Run:
    """eps above most of sqrt(v): it is large, or the loss is small."""
    task, lr = _drawn(r, [*DENSE, "tokens"])
    factor, ratio = r.choice([1.0, 1e-3, 1e-6]), _between(r, 3, 100)
    problem = task.problem
    model = problem.fresh(0)
    problem.loss(model(problem.inputs[:64]), problem.targets[:64]).backward()
    size = max(
        p.grad[p.grad != 0].abs().median().item() for p in model.parameters() if p.grad is not None
    )
    task = Task(task.kind, problem.with_(loss=lambda out, y: factor * problem.loss(out, y)), 0, 0)
    made = recipe(r, lr, eps=ratio * factor * size * math.sqrt(64 / min(64, problem.batch_size)))
    return _run(task, made, cause, r.choice([1, 5, 10]), f"eps {made.options['eps']:.1g}", steps=80)


def narrow(r: random.Random, cause: str) -> Run:
    """Weights and state in 16 bits: squares of half precision underflow, those of bfloat16 stand
    still.
    """
    task, lr = _drawn(r, ["logistic", "mlp", "deep"])
    half = r.random() < 0.5
    dtype = torch.float16 if half else torch.bfloat16
    problem = task.problem.with_(inputs=task.problem.inputs.to(dtype))
    module = problem.module
    problem = problem.with_(module=lambda: module().to(dtype))
    eps, beta2 = (1e-4, 0.99) if half else (1e-8, 0.999)
    made = recipe(r, lr, eps=eps, betas=(0.9, beta2))
    made = Recipe(torch.optim.AdamW, made.options)
    return _run(
        Task(task.kind, problem, 0, 0),
        made,
        cause,
        r.choice([1, 5, 10]),
        str(dtype),
        steps=120 if half else 250,
    )


def edge(r: random.Random, cause: str) -> Run:
    """All the data at every step, so that nothing but curvature moves the loss; a rate that it does
    not stand.
    """
    kind, width = r.choice(["mlp", "mlp", "regression"]), r.choice([16, 24])
    problem = (
        regression(0.1, width, 2048)
        if kind == "regression"
        else digits(hidden=4 * width, batch_size=1797)
    )
    lr = _between(r, 0.1, 0.15) if kind == "regression" else _between(r, 0.04, 0.07)
    made = Recipe(torch.optim.Adam, {"lr": lr, "betas": (0.0, r.choice([0.9999, 0.99999]))})
    return _run(Task(kind, problem, 0, 0), made, cause, r.choice([1, 2]), steps=150)


def rushed(r: random.Random, cause: str) -> Run:
    """The full rate from the first step, on deep nets normalised after their sums, which train well
    after a warmup.
    """
    depth, lr = r.choice([4, 5]), _between(r, 0.029, 0.034)
    problem = _digits(partial(residual, 64, depth), r.choice([64, 128]))
    made = Recipe(torch.optim.AdamW, {"lr": lr, "betas": (0.9, r.choice([0.99, 0.999]))})
    return _run(
        Task("residual", problem, 0, 0), made, cause, r.choice([1, 2]), f"depth {depth}", steps=60
    )


def miscounted(r: random.Random, cause: str) -> Run:
    """A resume with the moments and no count, or with the count and no moments."""
    task, lr = _drawn(r, ANY)
    at, lost = 10 * r.randrange(5, 12), r.random() < 0.5

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        for state in optimizer.state.values() if step == at else ():
            for name in ("exp_avg", "exp_avg_sq") if lost else ("step",):
                state[name].zero_()

    made = recipe(r, lr)
    return _run(
        task,
        made,
        cause,
        r.choice([1, 5, 10]),
        "no moments" if lost else "no count",
        before=before,
        steps=at + 20,
    )


def dead(r: random.Random, cause: str) -> Run:
    """Most units of a layer are pushed where no input reaches them, at the start or later."""
    width, share, at = r.choice([16, 32, 64]), r.uniform(0.5, 0.9), r.choice([1, 1, 60, 100])

    def module() -> nn.Module:
        first, second, last = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)

    problem, which = _digits(module, r.choice([16, 32, 128])), r.choice([0, 2])

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at:
            with torch.no_grad():
                model[which].bias[: int(share * width)] = -100.0  # pyright: ignore

    made = recipe(r, _between(r, 5e-4, 5e-3))
    return _run(
        Task("mlp", problem, 0, 0),
        made,
        cause,
        r.choice([1, 2, 3]),
        f"{share:.0%} at {at}",
        before=before,
        steps=300,
    )


def broken(r: random.Random, cause: str) -> Run:
    """A gradient, or an input, that is not finite."""
    task, lr = _drawn(r, DENSE)
    at, value, inputs = _step(r), r.choice([math.nan, math.inf, -math.inf]), r.random() < 0.5
    share = r.random()

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at and not inputs:
            tensors = [*model.parameters()]
            p = tensors[int(share * len(tensors))]
            p.grad.view(-1)[0] = value  # pyright: ignore

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (torch.full_like(x, value) if step == at and inputs else x), y

    return _run(
        task,
        recipe(r, lr),
        cause,
        r.choice([1, 5, 10]),
        value,
        before=before,
        feed=feed,
        steps=at + 15,
    )


def changed(r: random.Random, cause: str) -> Run:
    """One batch of other data."""
    task, lr = _drawn(r, ["logistic", "mlp", "deep", "convnet", "regression", "label noise"])
    every, times = r.choice([1, 2, 5]), _between(r, 8, 40)
    at = every * (_step(r) // every)

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (times * x, y.roll(1, 0)) if step == at else (x, y)

    return _run(
        task, recipe(r, lr), cause, every, f"{times:.0f} x at {at}", feed=feed, steps=at + 40
    )


def too_large(r: random.Random, cause: str) -> Run:
    """A learning rate of hundreds of times what the problem stands, from the start or from some
    step on.
    """
    task, _ = _drawn(r, ["mlp", "deep", "convnet", "label noise", "regression", "text"])
    lr, at = _between(r, 0.5, 5.0), r.choice([1, 1, _step(r)])
    made = recipe(r, lr if at == 1 else task.low, betas=(0.9, r.choice([0.95, 0.999])))

    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        if step == at:
            optimizer.param_groups[0]["lr"] = lr

    return _run(
        task,
        made,
        cause,
        r.choice([1, 5, 10]),
        f"lr {lr:.2g} at {at}",
        before=before,
        steps=at + 60,
    )


def drifting(r: random.Random, cause: str) -> Run:
    """Normalised layers under a decay that outlasts the schedule: weights shrink, and gradients
    grow.
    """
    width, size = r.choice([24, 64]), r.choice([32, 128])
    problem, steps, lr = (
        noisy_labels(0.4, size).with_(module=partial(normed, width)),
        400,
        _between(r, 5e-3, 1.2e-2),
    )
    made = Recipe(
        torch.optim.AdamW,
        {
            "lr": lr,
            "betas": (0.9, r.choice([0.95, 0.99])),
            "weight_decay": r.uniform(8, 15) / (steps * lr),
        },
    )
    before = paced(lr, r.choice(["linear decay", "warmup and cosine"]), steps)
    told = f"decay {made.options['weight_decay']:.2g}"
    return _run(
        Task("normed", problem, 0, 0),
        made,
        cause,
        r.choice([2, 5, 10]),
        told,
        before=before,
        steps=steps,
    )


PLANTS: dict[str, Callable[[random.Random, str], Run]] = {
    "stale second moment": lambda r, cause: r.choice([grown, loud])(r, cause),
    "second moment too noisy": lambda r, cause: r.choice([noisy, rare_steep])(r, cause),
    "beta1^2 >= beta2": coupled,
    "eps dominates": swallowed,
    "second moment lost in its type": narrow,
    "adaptive edge of stability": lambda r, cause: edge(r, cause),
    "warmup too short": rushed,
    "step count wrong": miscounted,
    "dead rows": dead,
    "non-finite gradients": broken,
    "sudden data change": changed,
    "learning rate too large": too_large,
    "weight norm drift": drifting,
}

"""Problems for failing and healthy runs: models, data, and suitable learning rates."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.problems import Problem, digits, sparse, text, valley


@dataclass(frozen=True)
class Task:
    """A problem with a range of learning rates at which it trains well."""

    kind: str
    problem: Problem
    low: float
    high: float
    steps: int = 200
    values: bool = True  # inputs are real numbers, not indices


def tasks(r: random.Random) -> dict[str, Callable[[], Task]]:
    """One problem of each kind, with random sizes."""
    size = r.choice([8, 16, 32, 128, 512])
    width = r.choice([16, 24, 48, 96])
    return {
        "logistic": lambda: Task("logistic", digits(model="logistic", batch_size=size), 1e-3, 2e-2),
        "mlp": lambda: Task("mlp", digits(hidden=width, batch_size=size), 5e-4, 1e-2),
        "batch 4": lambda: Task("batch 4", digits(hidden=width, batch_size=4), 3e-4, 3e-3, 400),
        "deep": lambda: Task("deep", digits_with(partial(deep, width), size), 3e-4, 3e-3),
        "normed": lambda: Task("normed", digits_with(partial(normed, width), size), 1e-3, 1e-2),
        "convnet": lambda: Task(
            "convnet", digits_with(partial(convnet, r.choice([4, 8])), size), 1e-3, 5e-3, 150
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


def digits_with(module: Callable[[], nn.Module], size: int) -> Problem:
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
    """The last of eight Zipf-distributed tokens determines the class; most rows of the embedding
    are rare.
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


def swelling(problem: Problem, start: int, length: int, times: float) -> tuple[Problem, Any]:
    """The problem with gradients whose norm grows by the factor `times`, and the feed that lets it
    grow; the loss values do not change.
    """
    factor = [1.0]

    def feed(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        factor[0] = times ** (min(1.0, max(0.0, (step - start) / length)) - 1)
        return x, y

    def loss(out: Tensor, y: Tensor) -> Tensor:
        """The value of the loss, with `factor` times its gradient."""
        value = problem.loss(out, y)
        return value.detach() + factor[0] * (value - value.detach())

    return problem.with_(loss=loss), feed


class Block(nn.Module):
    """A residual block with normalization after the sum, as in the first transformers."""

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
    """A network with batch normalization if it is narrow, else layer normalization."""
    norm = nn.BatchNorm1d if width < 40 else nn.LayerNorm
    return nn.Sequential(nn.Linear(64, width), norm(width), nn.ReLU(), nn.Linear(width, 10))


def noisy_labels(share: float, size: int) -> Problem:
    """Digits of which a share has random labels."""
    problem, generator = digits(batch_size=size), torch.Generator().manual_seed(1)
    wrong = torch.rand(len(problem.targets), generator=generator) < share
    other = torch.randint(10, (len(problem.targets),), generator=generator)
    return problem.with_(targets=torch.where(wrong, other, problem.targets))

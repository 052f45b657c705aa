"""Random optimizers, betas and learning-rate schedules."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import betaplane
from benchmarks.failures.remedies import Recipe

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
OPTIMIZERS = [
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
WARMUP_STEPS = 20


def lr_factor(name: str, step: int, steps: int) -> float:
    """The learning rate at a step, counted from 1, as a share of the peak."""
    rise, done = min(1.0, step / WARMUP_STEPS), (step - 1) / steps
    return {
        "constant": 1.0,
        "warmup and cosine": rise * (1 + math.cos(math.pi * done)) / 2,
        "linear decay": 1 - done,
        "one cycle": math.sin(math.pi * (step / (steps + 1))),
        "stable, then decay": rise * min(1.0, 4 * (1 - done)),
    }[name]


Before = Callable[[int, torch.optim.Optimizer, nn.Module], None]


def scheduled(
    lr: float, schedule: str, steps: int, then: Before = lambda step, optimizer, model: None
) -> Before:
    def before(step: int, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr * lr_factor(schedule, step, steps)
        then(step, optimizer, model)

    return before


def log_uniform(r: random.Random, low: float, high: float) -> float:
    return math.exp(r.uniform(math.log(low), math.log(high)))


def recipe(r: random.Random, lr: float, **numbers: Any) -> Recipe:
    """A random optimizer with random options; `numbers` override them."""
    options = {
        "betas": r.choice(BETAS),
        "weight_decay": r.choice([0.0, 0.01, 0.1]),
        "eps": r.choice([1e-8, 1e-10]),
    }
    optimizer = r.choice(OPTIMIZERS)
    # their weight decay is added to the gradient
    if optimizer in (torch.optim.Adam, betaplane.Adam, torch.optim.RAdam, torch.optim.NAdam):
        options["weight_decay"] = 0.0
    return Recipe(optimizer, {"lr": lr, **options, **numbers})

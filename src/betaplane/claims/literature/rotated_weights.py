"""A random rotation of the weights takes Adam's advantage (arXiv:2410.19964)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import Below, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam
from betaplane.rules._rule import Rule

HIDDEN, PIXELS, CLASSES, STEPS, BATCH = 8, 64, 10, 300, 32
SHAPES = ((HIDDEN, PIXELS), (HIDDEN,), (CLASSES, HIDDEN), (CLASSES,))
CONTENDERS: Mapping[str, Rule] = {"Adam": Adam(), "SGD with momentum": SGD(momentum=0.9)}
LRS = {"Adam": (0.003, 0.01, 0.03, 0.1), "SGD with momentum": (0.03, 0.1, 0.3, 1.0)}
ROTATIONS = ("none", "layers", "all weights")


def measure(lab: Lab) -> None:
    """Final losses at learning rates that are tuned for every rotation."""
    for name, rule in CONTENDERS.items():
        series = []
        for rotation in ROTATIONS:
            problem = _rotated(rotation)
            tuned = lab.tune(problem, {name: rule}, LRS[name])
            runs = [Run(rule, tuned.lr(name), BATCH, seed) for seed in lab.seeds]
            curves = np.array([outcome.curve for outcome in lab.train(problem, runs)])
            lab.measure(
                f"{name}, rotation of {rotation}: final loss", curves[:, -10:].mean(1), "nats"
            )
            steps = np.linspace(0, STEPS, curves.shape[1] + 1)[1:]
            mean = curves.reshape(len(curves), -1, 5).mean(2)
            series.append(Series(rotation, steps[4::5], mean.mean(0), mean.min(0), mean.max(0)))
        title = f"{name}, weights rotated"
        lab.draw(Panel(title, "step", "training loss, nats", series, y_scale="log"))


def _rotated(rotation: str) -> Problem:
    """The digits with an mlp whose weights are a rotation of what is trained."""
    problem = digits(steps=STEPS, schedule="warmup_cosine")
    return problem.with_(name=f"digits, rotation of {rotation}", module=partial(_Net, rotation))


class _Net(nn.Module):
    """Linear, ReLU, Linear with weights Q z, where z is trained; Q z = the usual start."""

    def __init__(self, rotation: str) -> None:
        super().__init__()
        usual = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
        flat = torch.cat([p.detach().flatten() for p in usual.parameters()])
        self.register_buffer("q", _rotation(rotation))
        self.z = nn.Parameter(self.q.T @ flat)

    q: Tensor

    def forward(self, x: Tensor) -> Tensor:
        sizes = [torch.Size(shape).numel() for shape in SHAPES]
        parts = (self.q @ self.z).split(sizes)
        w1, b1, w2, b2 = (part.view(shape) for part, shape in zip(parts, SHAPES, strict=True))
        return nn.functional.linear(nn.functional.linear(x, w1, b1).relu(), w2, b2)


def _rotation(kind: str) -> Tensor:
    """A rotation of all weights, of the weights of each layer, or none; the same for every run."""
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    if kind == "none":
        return torch.eye(sum(sizes))
    parts = [sum(sizes)] if kind == "all weights" else sizes
    generator = torch.Generator().manual_seed(0)
    return torch.block_diag(
        *(torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in parts)
    )


CLAIM = Claim(
    name="rotated-weights",
    title="Random rotations of the weights",
    statement="If the weights of a network are rotated at random, Adam becomes worse, and SGD does "
    "not change.",
    sources=(
        Source("L. Maes, T. H. Zhang, et al.", 2024, "2410.19964", "Figure 1 (global rotations)"),
    ),
    setting="Digits, 8 hidden units, 300 steps with a cosine schedule; what is trained is z with "
    "weights Q z, from the usual initialization. Every rotation has its own tuned learning rate. The "
    "paper trains GPT-2, for which rotations of all weights cost Adam its lead.",
    checks=(
        Below("Adam, rotation of none: final loss", "Adam, rotation of all weights: final loss"),
        Below("Adam, rotation of none: final loss", "Adam, rotation of layers: final loss"),
        Same(
            "SGD with momentum, rotation of all weights: final loss",
            "SGD with momentum, rotation of none: final loss",
            0.01,
        ),
    ),
    measure=measure,
    seeds=8,
)

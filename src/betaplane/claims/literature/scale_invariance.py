"""Multiplying the gradients of a layer changes SGD and not Adam (Kingma & Ba 2015)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, AtMost
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam, Lion

STEPS = 300
FACTORS = tuple(2.0**k for k in (-40, -30, -20, -10, -5, 0, 5, 10, 20))
TINY = 1e-200  # eps, so that gradients that are exactly 0 do not give 0 / 0
CONTENDERS = {
    "Adam, eps 0": (Adam(eps=TINY), 0.003),
    "Adam, eps 1e-8": (Adam(), 0.003),
    "Lion": (Lion(), 0.0003),
    "SGD": (SGD(), 0.1),
}


def measure(lab: Lab) -> None:
    """Train a network whose first layer receives gradients that are multiplied by a factor."""
    finals = {name: _finals(lab, name) for name in CONTENDERS}
    for name, losses in finals.items():
        change = np.abs(losses - losses[:, [FACTORS.index(1.0)]])
        lab.measure(f"{name}: largest change of the final loss", change.max(1), "nats")
    series = [Series(name, FACTORS, losses.mean(0)) for name, losses in finals.items()]
    title = "Gradients of one layer, multiplied"
    lab.draw(Panel(title, "factor", "final loss, nats", series, "log", "log"))


def _finals(lab: Lab, name: str) -> np.ndarray:
    """Final losses, (seeds, factors)."""
    rule, lr = CONTENDERS[name]
    runs = [Run(rule, lr, 32, seed) for seed in lab.seeds]
    return np.array([[o.final for o in lab.train(_scaled(c), runs)] for c in FACTORS]).T


def _scaled(factor: float) -> Problem:
    """The digits in float64, with a factor on the gradients of the hidden layer."""
    problem = digits(hidden=16, steps=STEPS)
    return problem.with_(module=partial(_Net, factor), inputs=problem.inputs.double())


class _Net(nn.Module):
    """Linear, ReLU, Linear; the gradient of the first weight is multiplied by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 16, dtype=torch.float64)
        self.out = nn.Linear(16, 10, dtype=torch.float64)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        w = self.hidden.weight
        fixed = w.detach()
        scaled = fixed + self.factor * (w - fixed)  # the value of w, and its gradient times factor
        return self.out(nn.functional.linear(x, scaled, self.hidden.bias).relu())


CLAIM = Claim(
    name="scale-invariance",
    title="Adam does not see the scale of a layer's gradients",
    statement="If the gradients of one layer are multiplied by a constant, Adam without eps makes the "
    "same updates; SGD does not.",
    sources=(Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Section 2.1"),),
    setting="Digits, 16 hidden units, 300 steps in float64; factors 2^-40 to 2^20 on the gradients of "
    "the first weight. The factors are powers of 2, so that nothing is rounded.",
    checks=(
        AtMost("Adam, eps 0: largest change of the final loss", 1e-9),
        AtMost("Lion: largest change of the final loss", 1e-9),
        AtLeast("SGD: largest change of the final loss", 0.05),
        AtLeast("Adam, eps 1e-8: largest change of the final loss", 0.01),
    ),
    measure=measure,
)

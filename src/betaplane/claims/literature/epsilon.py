"""What eps does: between a sign-like update and momentum SGD, and against small gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import Below, Near, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import loss_panel
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.tuning import final_loss
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam, AdamAtan2
from betaplane.rules._rule import Rule

STEPS = 300
LARGE_EPS = 1e4
SGD_LR = 0.01
SCALES = (1.0, 1e-2, 1e-4, 1e-6, 1e-8)  # factors of the gradients
WIDTHS = (16, 64, 256, 1024, 4096)


def measure(lab: Lab) -> None:
    """Train with a huge eps, with scaled gradients, and measure gradients by width."""
    problem = digits(steps=STEPS)
    _large_eps(lab, problem)
    _scaled(lab, problem)
    _by_width(lab)


def _large_eps(lab: Lab, problem: Problem) -> None:
    """Compare trajectories at a learning rate at which rounding errors do not grow."""
    rules: dict[str, tuple[Rule, float]] = {
        "SGD with momentum": (SGD(momentum=0.9), SGD_LR),
        "Adam at a huge eps": (
            Adam(eps=LARGE_EPS, debias="none"),
            SGD_LR / (1 - 0.9) * LARGE_EPS,  # SGD's buffer is a sum, Adam's m is an average
        ),
    }
    curves = {}
    for name, (rule, rate) in rules.items():
        runs = [Run(rule, rate, problem.batch_size, seed) for seed in lab.seeds]
        curves[name] = lab.train(problem, runs)
        lab.measure(f"final loss of {name}", [final_loss(outcome) for outcome in curves[name]])
    lab.draw(loss_panel("Digits: Adam at eps = 1e4 is SGD", STEPS, curves))


@dataclass(frozen=True)
class Scaled:
    """The cross-entropy times a factor, which scales all gradients."""

    factor: float

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of a minibatch."""
        return self.factor * nn.functional.cross_entropy(output, target)


def _scaled(lab: Lab, problem: Problem) -> None:
    rules: dict[str, Rule] = {"Adam": Adam(), "Adam-atan2": AdamAtan2()}
    lrs = lab.tune(problem, rules, (0.003, 0.01, 0.03))
    series = []
    for name, rule in rules.items():
        means = []
        for factor in SCALES:
            scaled = problem.with_(loss=Scaled(factor), name=f"digits, loss times {factor:g}")
            finals = lab.finals(scaled, rule, lrs.lr(name)) / factor
            lab.measure(f"final loss of {name}, gradients times {factor:g}", finals)
            means.append(finals.mean())
        series.append(Series(name, SCALES, means))
    lab.draw(Panel("Small gradients", "factor of the gradients", "loss", series, "log", "log"))


def _by_width(lab: Lab) -> None:
    """The RMS gradient of a hidden layer at the initialization, by width."""
    sizes = np.array([[_hidden_gradient(width, seed) for width in WIDTHS] for seed in lab.seeds])
    slopes = np.polyfit(np.log(WIDTHS), np.log(sizes).T, 1)[0]
    lab.measure("exponent of the width in the RMS gradient", slopes)
    means = sizes.mean(axis=0)
    series = (Series("", WIDTHS, means),)
    lab.draw(Panel("Gradient of a hidden layer", "width", "RMS gradient", series, "log", "log"))


def _hidden_gradient(width: int, seed: int) -> float:
    """Of a layer (width, width) between two others, on 256 digits."""
    torch.manual_seed(seed)
    problem = digits()
    layers = (nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    module = nn.Sequential(*layers, nn.Linear(width, 10))
    output = module(problem.inputs[:256])
    nn.functional.cross_entropy(output, problem.targets[:256]).backward()
    gradient = layers[2].weight.grad
    return float(torch.as_tensor(gradient).square().mean().sqrt())


CLAIM = Claim(
    name="epsilon",
    title="What eps does",
    statement="A large eps turns Adam into SGD with momentum, a small one keeps it sign-like; gradients "
    "shrink as the width grows, and the default eps of 1e-8 then slows training, which atan2 avoids.",
    sources=(
        Source("K. Everett and others", 2024, "2407.05872", "Section 4.3 and Adam-atan2"),
        Source("D. Choi and others", 2019, "1910.05446", "inclusion of momentum in Adam"),
    ),
    setting="Digits with one hidden layer, 300 steps. At torch's default initialization the gradient of "
    "a hidden layer is proportional to the weights after it, width^(-1/2). Small gradients are made by "
    "a factor of the loss, down to 1e-8, where widths of models would need to be far beyond a laptop.",
    checks=(
        Same("final loss of Adam at a huge eps", "final loss of SGD with momentum", 0.001),
        Same(
            "final loss of Adam-atan2, gradients times 1e-08",
            "final loss of Adam-atan2, gradients times 1",
            0.005,
        ),
        Below(
            "final loss of Adam, gradients times 1",
            "final loss of Adam, gradients times 1e-08",
            0.1,
        ),
        Near("exponent of the width in the RMS gradient", -0.5, 0.1),
    ),
    measure=measure,
)

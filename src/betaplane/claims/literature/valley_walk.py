"""A narrow valley: one learning rate for both directions, and what rotation takes from Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, Below, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.follow import Moment
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam
from betaplane.rules._rule import Rule

STEEP, GOAL, STEPS = 1000.0, 1e-8, 6000
EVERY = 5  # steps between two losses of the tuned runs
START, OTHER = (1.0, 1.0), (1.0, 0.6)  # from (1, 1), one step of lr 1 would end in the minimum
POLYAK = ((math.sqrt(STEEP) - 1) / (math.sqrt(STEEP) + 1)) ** 2  # momentum
# rule, lr and published count, and steps of the run
PUBLISHED = {
    "gradient descent": (SGD(), 2 / (1 + STEEP), 6160, 6500),
    "heavy ball": (SGD(momentum=POLYAK), 4 / (1 + math.sqrt(STEEP)) ** 2, 296, 400),
    "RMS scaling": (Adam(beta1=0.0), 0.2, 22, 3000),
}
CONTENDERS: Mapping[str, Rule] = {
    "gradient descent": SGD(),
    "heavy ball, 0.9": SGD(momentum=0.9),
    "RMS scaling": Adam(beta1=0.0),
    "Adam": Adam(),
}
Start = tuple[float, float]
LRS = 10.0 ** np.arange(-5, 1.01, 0.25)
NEVER = "never within 3,000 steps is inf"


def measure(lab: Lab) -> None:
    """Count steps to a loss of 1e-8, in the valley and in the valley rotated by 45 degrees."""
    for rotated in (False, True):
        for name, (rule, lr, count, length) in PUBLISHED.items():
            steps = _count(lab, rule, lr, rotated, length)
            published = None if rotated else float(count)
            note = f"rotated: never; {NEVER}" if rotated and rule == Adam(beta1=0.0) else ""
            lab.measure(f"{name}, {_text(rotated)}", steps, "steps", published, note)
    _measure_best(lab)
    for factor in (0.1, 1.01):
        (outcome,) = lab.train(valley(False), [Run(SGD(), factor * 2 / STEEP, 1, 0)])
        share = outcome.final / outcome.initial
        lab.measure(f"gradient descent at {factor:g} of its largest stable lr: loss ratio", share)
    _draw_paths(lab)


def _measure_best(lab: Lab) -> None:
    """Steps at the best learning rate of a grid that all contenders share."""
    rows, best = [], {}
    for name, rule in CONTENDERS.items():
        for rotated in (False, True):
            counts = _counts(lab, rule, rotated)
            i = int(np.argmin(counts))
            best[name, rotated] = counts[i]
            lab.measure(f"{name}, best lr, {_text(rotated)}", counts[i], "steps")
            rows.append((name, _text(rotated), f"{LRS[i]:.3g}", counts[i], len(LRS)))
    for rotated in (False, True):
        advantage = best["gradient descent", rotated] / best["Adam", rotated]
        lab.measure(f"gradient descent / Adam, {_text(rotated)}", advantage)
    columns = ("contender", "valley", "best lr", "steps", "learning rates tried")
    lab.tabulate(Table("Steps to a loss of 1e-8, tuned", columns, rows))


def _count(lab: Lab, rule: Rule, lr: float, rotated: bool, length: int) -> float:
    """The number of steps after which the loss is below the goal."""
    problem, options = valley(rotated).with_(steps=length), replace(WHOLE, points=length)
    (outcome,) = lab.train(problem, [Run(rule, lr, 1, 0)], options)
    return _reached(outcome.curve)  # its points are the losses before each step


def _counts(lab: Lab, rule: Rule, rotated: bool) -> list[float]:
    """The number of steps, rounded up to five, at which the loss is below the goal, for every
    learning rate.
    """
    problem = valley(rotated, OTHER).with_(record="full")
    options = replace(WHOLE, points=STEPS // EVERY, independent=False)
    runs = [Run(rule, float(lr), 1, 0) for lr in LRS]
    curves = [outcome.curve for outcome in lab.train(problem, runs, options)]
    return [EVERY * (_reached(curve) + 1) for curve in curves]


def _reached(curve: np.ndarray) -> float:
    """The first point below the goal; inf if there is none."""
    below = np.flatnonzero(curve < GOAL)
    return float(below[0]) if len(below) else math.inf


def _draw_paths(lab: Lab) -> None:
    runs: dict[str, tuple[Rule, float]] = {
        "gradient descent": PUBLISHED["gradient descent"][:2],
        "RMS scaling, lr 0.1": (Adam(beta1=0.0), 0.1),
        "Adam, lr 0.1": (Adam(), 0.1),
    }
    for rotated in (False, True):
        paths = {name: _path(lab, rule, lr, rotated) for name, (rule, lr) in runs.items()}
        series = [Series(name, x1, x2) for name, (x1, x2) in paths.items()]
        title = f"60 steps in the {_text(rotated)} valley"
        lab.draw(Panel(title, "x1", "x2", series))


def _path(lab: Lab, rule: Rule, lr: float, rotated: bool) -> np.ndarray:
    """The points of a run, (2, steps + 1)."""
    problem = valley(rotated).with_(steps=60)
    points = [problem.fresh(0).get_parameter("x").tolist()]

    def look(moment: Moment) -> None:
        points.append(moment.params["x"].tolist())

    lab.follow(problem, Run(rule, lr, 1, 0), look)
    return np.array(points).T


def valley(rotated: bool, start: Start = START) -> Problem:
    """The quadratic (x1^2 + 1000 x2^2) / 2, or the same rotated by 45 degrees."""
    one = torch.ones(1, dtype=torch.float64)
    module, steps = partial(_Valley, rotated, start), STEPS
    return Problem("valley", module, _value, one, one, 1, steps=steps, best=0.0)


class _Valley(nn.Module):
    """Parameter x of shape (2,); forward is the value at x."""

    H: Tensor

    def __init__(self, rotated: bool, start: Start) -> None:
        super().__init__()
        root = math.sqrt(0.5)
        q = torch.tensor([[root, -root], [root, root]]) if rotated else torch.eye(2)
        q = q.double()
        self.register_buffer("H", q @ torch.tensor([1.0, STEEP]).double().diag() @ q.T)
        self.x = nn.Parameter(q @ torch.tensor(start).double())

    def forward(self, scale: Tensor) -> Tensor:
        return scale.sum() * 0.5 * (self.x @ self.H @ self.x)


def _value(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output


def _text(rotated: bool) -> str:
    return "rotated" if rotated else "aligned"


CLAIM = Claim(
    name="valley-walk",
    title="A narrow valley, and the same one rotated",
    statement="In a valley along the axes gradient descent crawls or ricochets and a rule that scales "
    "each coordinate walks; if the valley is rotated by 45 degrees, the advantage shrinks.",
    sources=(
        Source("T. Tieleman, G. Hinton", 2012, "Coursera, lecture 6", "slides on elongated bowls"),
        Source("B. Polyak", 1964, "USSR Comput. Math. Math. Phys. 4(5)", "optimal heavy ball"),
    ),
    setting="f = (x1^2 + 1000 x2^2) / 2 from (1, 1), or (1, 0.6) for tuning, in "
    "float64 until f < 1e-8. The counts of this "
    "example were published without their settings; they are reproduced by lr 2 / 1001, Polyak's "
    "optimal momentum, and bias-corrected RMS scaling at lr 0.2 with beta2 = 0.999.",
    checks=(
        *(Near(f"{name}, aligned", count, 0) for name, (_, _, count, _) in PUBLISHED.items()),
        AtLeast("RMS scaling, rotated", 3000),
        Near("gradient descent, rotated", 6160, 2),
        Near("heavy ball, rotated", 296, 2),
        Below("Adam, best lr, aligned", "gradient descent, best lr, aligned"),
        Below("gradient descent / Adam, rotated", "gradient descent / Adam, aligned"),
        AtLeast("gradient descent at 1.01 of its largest stable lr: loss ratio", 1e3),
        AtLeast("gradient descent at 0.1 of its largest stable lr: loss ratio", 1e-6),
    ),
    measure=measure,
    seeds=1,
)

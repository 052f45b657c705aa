"""Whether SGD with momentum generalizes better than Adam on images."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import held_out_curve
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.measured import interval
from betaplane.claims.tuning import SEEDS, final_loss
from betaplane.problems import digits
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam
from betaplane.rules._rule import Rule

STEPS = 400
HELD_OUT = 597  # of 1,797 images; the rest is trained on
LRS: dict[str, tuple[float, ...]] = {
    "Adam": (0.001, 0.003, 0.01, 0.03),
    "SGD with momentum": (0.01, 0.03, 0.1, 0.3),
}
RULES: dict[str, Rule] = {"Adam": Adam(), "SGD with momentum": SGD(momentum=0.9)}


def measure(lab: Lab) -> None:
    """Choose each learning rate by the held-out error on its own seeds, then measure."""
    problem = digits(model="conv", held_out=HELD_OUT, steps=STEPS, schedule="warmup_cosine")
    series = []
    for name, rule in RULES.items():
        lrs = LRS[name]
        runs = [Run(rule, lr, 32, seed) for lr in lrs for seed in SEEDS]
        errors = np.array([held_out_curve(o)[-1] for o in lab.train(problem, runs)])
        lr = lrs[int(errors.reshape(len(lrs), -1).mean(axis=1).argmin())]
        outcomes = lab.train(problem, [Run(rule, lr, 32, seed) for seed in lab.seeds])
        curves = 100 * np.array([held_out_curve(outcome) for outcome in outcomes])
        lab.measure(f"best lr of {name}", lr)
        lab.measure(f"held-out error of {name}", curves[:, -1], "%")
        lab.measure(f"final training loss of {name}", [final_loss(o) for o in outcomes])
        x = np.linspace(STEPS / curves.shape[1], STEPS, curves.shape[1])
        low, high = np.array([interval(column) for column in curves.T]).T
        series.append(Series(name, x, curves.mean(axis=0), low, high))
    lab.draw(Panel("Held-out digits", "step", "error, %", series, y_scale="log"))


CLAIM = Claim(
    name="generalization-gap",
    title="Does SGD generalize better?",
    statement="On images, SGD with momentum has a smaller held-out error than Adam, if both are tuned.",
    sources=(
        Source(
            "A. Wilson and others", 2017, "1705.08292", "Section 4.1, CIFAR-10: 7.65% against 8.9%"
        ),
        Source("D. Choi and others", 2019, "1910.05446", "Figure 1: no gap if Adam is tuned"),
    ),
    setting="A convolutional network on 1,200 digits, 597 held out, 400 steps with a cosine; learning "
    "rates chosen by the held-out error on other seeds.",
    checks=(Below("held-out error of SGD with momentum", "held-out error of Adam"),),
    measure=measure,
    seeds=24,
)

"""Rare classes: slow for gradient descent, not for Adam (Kunstner et al. 2024)."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import held_out_curve
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.problems import rare_classes
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam

SIZES = (16, 64, 256)
CONTENDERS = {"Adam": Adam(), "gradient descent": SGD(momentum=0.9)}
LRS = {"Adam": (0.02, 0.08, 0.32), "gradient descent": (0.1, 0.4, 1.6)}
MARGIN = 0.1  # of log(classes), the initial loss


def measure(lab: Lab) -> None:
    """Train at full batch for every number of classes, and compare the losses of rare classes."""
    leads = []
    for classes in (int(size) for size in lab.sizes):
        problem = rare_classes(classes)
        tuned = lab.tune(problem, CONTENDERS, LRS)
        rare = {}
        for name, rule in CONTENDERS.items():
            runs = [Run(rule, tuned.lr(name), problem.batch_size, seed) for seed in lab.seeds]
            curves = np.array([held_out_curve(o) for o in lab.train(problem, runs)])
            rare[name] = curves / np.log(classes)
            lab.measure(f"rare loss of {name}, {classes} classes", rare[name][:, -1])
        leads.append((rare["gradient descent"][:, -1] - rare["Adam"][:, -1]).mean())
        if classes == lab.sizes[-1]:
            x = np.linspace(problem.steps / curves.shape[1], problem.steps, curves.shape[1])
            series = [Series(name, x, each.mean(axis=0)) for name, each in rare.items()]
            title = f"Loss on the rare half, {classes} classes"
            lab.draw(Panel(title, "step", "loss / log(classes)", series))
    title = "Lead of Adam on the rare half"
    lead = (Series("", lab.sizes, leads),)
    lab.draw(Panel(title, "classes", "difference, loss / log(classes)", lead, "log"))


CLAIM = Claim(
    name="heavy-tails",
    title="Rare classes are slow for gradient descent",
    statement="If class frequencies are heavy-tailed, gradient descent is slow on the rare classes and "
    "Adam is not.",
    sources=(Source("F. Kunstner and others", 2024, "2402.19449", "Figures 1 and 4"),),
    setting="Softmax regression on 512 random inputs of 128 features in [0, 1], class k as frequent as "
    "1 / k, full batch, 60 steps, momentum 0.9; the loss of the half of the examples with the rarest "
    "classes, as a share of log(classes). Both learning rates are tuned; the paper has up to 10,000s of "
    "classes. Over 200 steps, or with normal inputs, which have no common direction, gradient descent "
    "learns the rare classes too.",
    checks=(),
    measure=measure,
    seeds=3,
    sizes=SIZES,
    size_name="classes",
    size_checks=lambda classes: (
        Below(
            f"rare loss of Adam, {classes:.0f} classes",
            f"rare loss of gradient descent, {classes:.0f} classes",
            MARGIN,
            when=f"there are {classes:.0f} classes",
        ),
    ),
)

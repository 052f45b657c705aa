"""Grokking: modular addition is learned by heart first, and generalizes with weight decay."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import AtLeast, AtMost, Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import held_out_curve
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import modular
from betaplane.replicas import Run
from betaplane.rules import AdamW

MODULUS = 31
STEPS = 2500
LR = 0.003
SETTINGS = {
    "decay 1, beta2 = 0.98": AdamW(beta2=0.98, weight_decay=1.0),
    "decay 1, beta2 = 0.999": AdamW(beta2=0.999, weight_decay=1.0),
    "decay 0, beta2 = 0.98": AdamW(beta2=0.98, weight_decay=0.0),
}
FITTED = 0.05  # nats of training loss below which the sums count as learned
GENERALIZED = 0.05  # held-out error below which it counts as generalizing


def measure(lab: Lab) -> None:
    """Train with and without decay, and find when training and held-out sums are learned."""
    problem = modular(modulus=MODULUS, steps=STEPS, lr=LR)
    series = []
    for name, rule in SETTINGS.items():
        runs = [Run(rule, LR, problem.batch_size, seed) for seed in lab.seeds]
        outcomes = lab.train(problem, runs, WHOLE)
        errors = np.array([held_out_curve(outcome) for outcome in outcomes])
        x = np.linspace(STEPS / errors.shape[1], STEPS, errors.shape[1])
        fitted = [_first(np.asarray(o.curve) < FITTED) for o in outcomes]
        general = [_first(each < GENERALIZED) for each in errors]
        lab.measure(f"steps until the training sums are learned, {name}", fitted)
        lab.measure(f"steps until held-out sums are right, {name}", general)
        lab.measure(f"final held-out error, {name}", errors[:, -1])
        series.append(Series(name, x, errors.mean(axis=0)))
    lab.draw(Panel("Held-out sums modulo 31", "step", "share of wrong sums", series))


def _first(reached: np.ndarray) -> float:
    """The step of the first point of a curve that is reached; all steps if none is."""
    points = np.flatnonzero(reached)
    return float((points[0] + 1) * STEPS / len(reached)) if len(points) else float(STEPS)


SHOWN = "decay 1, beta2 = 0.98"
CLAIM = Claim(
    name="grokking",
    title="Grokking",
    statement="On modular addition AdamW fits the training sums first and generalizes much later; weight "
    "decay is what makes it generalize.",
    sources=(
        Source("A. Power and others", 2022, "2201.02177", "Figures 1 and 2"),
        Source("N. Nanda and others", 2023, "2301.05217", "weight decay 1"),
    ),
    setting="Sums modulo 31 (the source: 97), half of the pairs, full batch, one hidden layer on summed "
    "embeddings, lr 0.003, 2,500 steps.",
    checks=(
        Below(
            f"steps until the training sums are learned, {SHOWN}",
            f"steps until held-out sums are right, {SHOWN}",
            500.0,
        ),
        AtMost(f"final held-out error, {SHOWN}", 0.05),
        AtLeast("final held-out error, decay 0, beta2 = 0.98", 0.3),
    ),
    measure=measure,
)

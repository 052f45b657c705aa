"""The smallest good beta2 against the batch size, on real data (Zhang et al. 2022, 2026)."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import AtLeast, AtMost
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.tuning import final_loss
from betaplane.maps.phase_map import Thresholds
from betaplane.maps.verdicts import score
from betaplane.problems import digits
from betaplane.replicas import Run
from betaplane.rules import Adam

BATCHES = (4, 16, 64, 256)
HORIZONS = np.geomspace(1, 100, 13)  # 1 / (1 - beta2)
LR = 0.01
STEPS = 1000


def measure(lab: Lab) -> None:
    """Train over batch sizes and beta2, and find the smallest good beta2 of every batch size."""
    beta2s = 1 - 1 / HORIZONS
    smallest, grid = [], []
    for batch in BATCHES:
        problem = digits(batch_size=batch, steps=STEPS)
        runs = [
            Run(Adam(beta1=0.9, beta2=float(beta2)), LR, batch, seed)
            for beta2 in beta2s
            for seed in lab.seeds
        ]
        outcomes = lab.train(problem, runs)
        finals = np.array([final_loss(o) for o in outcomes]).reshape(len(beta2s), -1)
        initial = outcomes[0].initial
        smallest.append([_smallest_good(column, initial) for column in finals.T])
        grid.append(np.median(finals, axis=1))
        lab.measure(f"smallest good 1 / (1 - beta2) at batch {batch}", smallest[-1], "steps")
    slopes = np.polyfit(np.log(BATCHES), np.log(np.array(smallest)), 1)[0]
    lab.measure("exponent of the batch size in the smallest good horizon", slopes)
    heat = Heat(BATCHES, HORIZONS, np.array(grid).T, "final loss", log=True)
    edge = Series("smallest good beta2", BATCHES, np.mean(smallest, axis=1))
    title = "Digits, beta1 = 0.9"
    lab.draw(Panel(title, "batch size", "1 / (1 - beta2)", (edge,), "log", "log", heat))


def _smallest_good(finals: np.ndarray, initial: float) -> float:
    """The smallest horizon from which on no larger one fails to be good; good is relative to the
    best loss at the batch size.
    """
    best = float(finals.min())
    good = np.array([score(float(f), initial, best) < Thresholds().good for f in finals])
    bad = np.flatnonzero(~good)
    first = int(bad[-1]) + 1 if len(bad) else 0
    return float(HORIZONS[min(first, len(HORIZONS) - 1)])


CLAIM = Claim(
    name="batch-threshold",
    title="Smaller batches need a larger beta2",
    statement="At beta1 = 0.9, the smallest beta2 that trains well rises as the batch size falls.",
    sources=(
        Source("Y. Zhang, C. Chen, N. Shi, R. Sun, Z.-Q. Luo", 2022, "2208.09632", "Figure 2"),
        Source("Y. Zhang and others", 2026, "2603.02092", "figure of MNIST, batch size and beta2"),
    ),
    setting="1,797 digits, one hidden layer of 32, lr 0.01, 1,000 steps at every batch size; the source "
    "trains on MNIST. Good: less than 5% of the decrease of the loss above the best at that batch size.",
    checks=(
        AtMost("exponent of the batch size in the smallest good horizon", 0.0),
        AtLeast("smallest good 1 / (1 - beta2) at batch 4", 3.0),
    ),
    measure=measure,
)

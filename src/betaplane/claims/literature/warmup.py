"""Linear warmup of 2 / (1 - beta2) steps, and RAdam."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import Below, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import loss_panel
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.tuning import final_loss
from betaplane.replicas import Run
from betaplane.rules import Adam, RAdam
from betaplane.theory import linear_warmup, linear_warmup_steps, radam_warmup

STEPS = 500
BETA2 = 0.99


def measure(lab: Lab) -> None:
    """Tune and train Adam with and without warmup, and RAdam."""
    plain = small_text(STEPS, schedule="warmup_cosine")
    warm = plain.with_(warmup=float(linear_warmup_steps(BETA2)) / STEPS)
    adam, radam = Adam(beta2=BETA2), RAdam(beta2=BETA2)
    curves = {}
    for name, rule, problem in (
        ("Adam without warmup", adam, plain),
        ("Adam with warmup", adam, warm),
        ("RAdam", radam, plain),
    ):
        lr = lab.tune(problem, {name: rule}, (0.01, 0.02, 0.04)).lr(name)
        runs = [Run(rule, lr, problem.batch_size, seed) for seed in lab.seeds]
        curves[name] = lab.train(problem, runs)
        lab.measure(f"final loss of {name}", [final_loss(outcome) for outcome in curves[name]])
    lab.draw(loss_panel("Text, beta2 = 0.99, each at its best lr", STEPS, curves))
    t = np.arange(1, STEPS + 1)
    series = (
        Series("linear, 2 / (1 - beta2) steps", t, linear_warmup(t, BETA2)),
        Series("RAdam's factor", t, np.nan_to_num(np.asarray(radam_warmup(t, BETA2)))),
    )
    lab.draw(Panel("The two warmups, beta2 = 0.99", "step", "factor of lr", series))


CLAIM = Claim(
    name="warmup",
    title="Untuned warmup",
    statement="A linear warmup of 2 / (1 - beta2) steps needs no tuning, helps Adam, and does about what "
    "RAdam does.",
    sources=(
        Source("J. Ma, D. Yarats", 2021, "1910.04209", "Section 5"),
        Source("L. Liu and others", 2020, "1908.03265", "RAdam"),
    ),
    setting="A character model of width 16, batch 16, 500 steps with a cosine, beta2 = 0.99, hence "
    "200 steps of warmup; each contender at its own best learning rate.",
    checks=(
        Below("final loss of Adam with warmup", "final loss of Adam without warmup"),
        Same("final loss of RAdam", "final loss of Adam with warmup", 0.05),
    ),
    measure=measure,
    seeds=8,
)

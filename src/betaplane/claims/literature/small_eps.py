"""Whether a smaller eps is better."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import Below, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.measured import interval
from betaplane.claims.tuning import final_loss
from betaplane.replicas import Run
from betaplane.rules import AdamW

STEPS = 400
EPS = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-15)


def measure(lab: Lab) -> None:
    """Train at every eps with one tuned learning rate."""
    problem = small_text(STEPS, schedule="warmup_cosine", warmup=0.1)
    lr = lab.tune(problem, {"AdamW": AdamW(beta2=0.99)}, (0.01, 0.02, 0.04)).lr("AdamW")
    runs = [Run(AdamW(beta2=0.99, eps=eps), lr, 16, seed) for eps in EPS for seed in lab.seeds]
    finals = np.array([final_loss(o) for o in lab.train(problem, runs)]).reshape(len(EPS), -1)
    for eps, values in zip(EPS, finals, strict=True):
        lab.measure(f"final loss at eps {eps:.0e}", values)
    low, high = np.array([interval(values) for values in finals]).T
    series = Series("", EPS, finals.mean(axis=1), low, high)
    lab.draw(Panel("Text: final loss by eps", "eps", "loss", (series,), "log"))


CLAIM = Claim(
    name="small-eps",
    title="Smaller eps",
    statement="Below 1e-6, eps does not matter for a language model; a larger eps than 1e-4 harms.",
    sources=(
        Source(
            "A. Orvieto, R. Gower",
            2025,
            "2505.21829",
            "table of eps: 23.34 perplexity at 1e-3, 21.56 at 1e-6, 21.86 at 1e-8, 21.91 at 1e-15",
        ),
    ),
    setting="A character model of width 16, batch 16, 400 steps with warmup and cosine, betas 0.9, 0.99; "
    "the source trains 160M parameters at 0.95, 0.95.",
    checks=(
        Same("final loss at eps 1e-06", "final loss at eps 1e-08", 0.03),
        Same("final loss at eps 1e-15", "final loss at eps 1e-08", 0.03),
        Below("final loss at eps 1e-08", "final loss at eps 1e-02", 0.03),
    ),
    measure=measure,
    seeds=8,
)

"""SGD against Adam by batch size, and sign descent with momentum at full batch."""

from __future__ import annotations

import numpy as np

from betaplane.claims.checks import Below, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import contest
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._bigrams import bigrams
from betaplane.claims.measured import interval
from betaplane.claims.tuning import final_loss
from betaplane.rules import SGD, Adam, Lion

BATCHES = (4, 32, 256, 1024)
FULL = BATCHES[-1]
STEPS = 60
CONTENDERS = {
    "Adam": Adam(beta2=0.99),
    "SGD with momentum": SGD(momentum=0.9),
    "sign descent with momentum": Lion(beta1=0.9, beta2=0.9),  # of equal betas: sign(m)
}
LRS = {
    "Adam": (0.01, 0.04, 0.16),
    "SGD with momentum": (0.25, 1.0, 4.0),
    "sign descent with momentum": (0.005, 0.02, 0.08),
}


def measure(lab: Lab) -> None:
    """Tune and train at every batch size, with as many steps each."""
    gaps = []
    for batch in BATCHES:
        problem = bigrams(FULL, batch, STEPS, schedule="warmup_linear")
        title = "Bigrams, full batch" if batch == FULL else ""
        outcomes = contest(lab, problem, CONTENDERS, LRS, f" at batch {batch}", title)
        finals = {name: np.array([final_loss(o) for o in each]) for name, each in outcomes.items()}
        gaps.append(finals["SGD with momentum"] - finals["Adam"])
        lab.measure(f"lead of Adam over SGD at batch {batch}", gaps[-1], "nats")
    low, high = np.array([interval(values) for values in gaps]).T
    lead = Series("", BATCHES, [values.mean() for values in gaps], low, high)
    title = "Lead of Adam over SGD"
    lab.draw(Panel(title, "batch size (1,024 is full)", "difference in loss, nats", (lead,), "log"))


CLAIM = Claim(
    name="batch-lead",
    title="The batch size decides between SGD and Adam",
    statement="Adam's lead over SGD with momentum grows with the batch size up to full batch, is none at "
    "small batches, and sign descent with momentum closes the gap at full batch.",
    sources=(
        Source("F. Kunstner and others", 2023, "2304.13960", "Figures 1 and 2"),
        Source("T. Sreckovic, J. Geiping, A. Orvieto", 2025, "2506.12543", "Figure 1"),
    ),
    setting="Softmax regression from a character to the next on 1,024 pairs of a text, 60 steps with a "
    "linear decay at every batch size; the papers train transformers.",
    checks=(
        Below("lead of Adam over SGD at batch 4", "lead of Adam over SGD at batch 1024"),
        Below("final loss of Adam at batch 1024", "final loss of SGD with momentum at batch 1024"),
        Same(
            "final loss of sign descent with momentum at batch 1024",
            "final loss of Adam at batch 1024",
            0.05,
        ),
        Below(
            "final loss of SGD with momentum at batch 4",
            "final loss of Adam at batch 4",
            -0.02,
        ),
    ),
    measure=measure,
    seeds=16,
)

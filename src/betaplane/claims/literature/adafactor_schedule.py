"""Adafactor's increasing beta2 with update clipping, against a constant beta2."""

from __future__ import annotations

import math

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import contest
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.rules import Adafactor, Adam
from betaplane.rules._rule import Rule

STEPS = 400
NOT_FACTORED = 1e9  # smallest side of a matrix that is factored


def increasing(clip: float) -> Rule:
    """Adafactor without factors, so that only beta2 = 1 - t^-0.8 and the clipping differ."""
    return Adafactor(rate="constant", min_dim=NOT_FACTORED, clip=clip)


CONTENDERS = {
    "increasing beta2, clipped": increasing(1.0),
    "increasing beta2": increasing(math.inf),
    "beta2 = 0.999, clipped": Adam(beta1=0.0, clip=1.0),
    "beta2 = 0.999": Adam(beta1=0.0),
}


def measure(lab: Lab) -> None:
    """Tune and train the four combinations without momentum and without warmup."""
    problem = small_text(STEPS, schedule="warmup_cosine")
    contest(lab, problem, CONTENDERS, (0.0025, 0.005, 0.01), title="Text, no warmup, beta1 = 0")


CLAIM = Claim(
    name="adafactor-schedule",
    title="An increasing beta2 with clipped updates",
    statement="Without momentum and warmup, beta2 = 1 - t^-0.8 with updates clipped to an RMS of 1 "
    "trains better than a constant beta2 of 0.999.",
    sources=(Source("N. Shazeer, M. Stern", 2018, "1804.04235", "Sections 6 and 7.2, Table 2"),),
    setting="A character model of width 16, batch 16, 400 steps with a cosine; the second moment is not "
    "factored. The paper trains translation models, where 0.999 without clipping diverges.",
    checks=(
        Below("final loss of increasing beta2, clipped", "final loss of beta2 = 0.999"),
        Below("final loss of increasing beta2, clipped", "final loss of beta2 = 0.999, clipped"),
    ),
    measure=measure,
    seeds=16,
)

"""Bias correction at tuned settings with a schedule (Laing & Orvieto 2025)."""

from __future__ import annotations

from betaplane.claims.checks import Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import contest
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.rules import AdamW

STEPS = 400


def measure(lab: Lab) -> None:
    """Tune and train AdamW with and without bias correction, with warmup and a cosine."""
    problem = small_text(STEPS, schedule="warmup_cosine", warmup=0.1)
    contenders = {
        "AdamW": AdamW(beta2=0.99),
        "AdamW without correction": AdamW(beta2=0.99, debias="none"),
    }
    contest(lab, problem, contenders, (0.01, 0.02, 0.04), title="Text, warmup and cosine")


CLAIM = Claim(
    name="bias-correction-tuned",
    title="Bias correction at tuned settings",
    statement="At a tuned learning rate with warmup and decay, AdamW reaches the same loss without "
    "bias correction.",
    sources=(Source("S. Laing, A. Orvieto", 2025, "2511.20516", "main claim"),),
    setting="A character model of width 16, batch 16, 400 steps, betas 0.9, 0.99; the paper trains "
    "language models of 160M parameters.",
    checks=(Same("final loss of AdamW without correction", "final loss of AdamW", 0.05),),
    measure=measure,
    seeds=24,
)

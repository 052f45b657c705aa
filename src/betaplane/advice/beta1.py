"""Advice on beta1: keep it, below sqrt(beta2)."""

from __future__ import annotations

from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import square_root_scaling

USUAL = 0.9
LOW, HIGH = 0.8, 0.95


def beta1(case: RunSpec) -> Decision:
    """The value before, whatever the batch size; 0.9 where there was none."""
    before = case.carried.beta1
    if before is None:
        return Decision(_usual(case))
    reason = (
        "It stays as it was: small batches do not need longer momentum, and 11,521 runs kept it."
    )
    low, high = min(LOW, before), max(HIGH, before)
    confidence = PUBLISHED if before == USUAL else HEURISTIC
    row = Recommendation(
        "beta1", before, low, high, reason, "beta1 stays", ("marek2025",), confidence
    )
    return Decision(row, _candidates(case, before))


def _usual(case: RunSpec) -> Recommendation:
    if case.unit == "tokens":
        reason = "0.9 to 0.95 was best or next to it in these sweeps of language models; 0.98 was a cliff."
        sources = "wen2025", "orvieto2025"
    else:
        reason = (
            "Winners of random searches had 0.46 to 0.97: little depends on it below sqrt(beta2)."
        )
        sources = ("dahl2023", "zhang2022")
    return Recommendation(
        "beta1", USUAL, LOW, HIGH, reason, "beta1 < sqrt(beta2)", sources, PUBLISHED
    )


def _candidates(case: RunSpec, before: float) -> tuple[Candidate, ...]:
    """Marek's and Malladi's; the latter where it lies in [0, 1)."""
    scaled = square_root_scaling(case.factor, 1.0, before, before).beta1
    kept = Candidate("same beta1 (Marek et al.)", before, ("marek2025",), chosen=True)
    other = Candidate("SDE scaling (Malladi et al.)", scaled, ("malladi2022",))
    return (kept, other) if 0 <= scaled < 1 else (kept,)

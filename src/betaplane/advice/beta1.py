"""Advice on beta1: keep it, below sqrt(beta2)."""

from __future__ import annotations

from betaplane.advice.recommendation import HEURISTIC, PUBLISHED, Candidate, Row, Ruling
from betaplane.advice.run_spec import Case
from betaplane.theory import square_root_scaling

USUAL = 0.9
LOW, HIGH = 0.8, 0.95


def beta1(case: Case) -> Ruling:
    """The value before, whatever the batch size; 0.9 where there was none."""
    before = case.carried.beta1
    if before is None:
        return Ruling(_usual(case))
    reason = "It stays as it was: small batches do not need longer momentum, and 11,521 runs kept it."
    low, high = min(LOW, before), max(HIGH, before)
    confidence = PUBLISHED if before == USUAL else HEURISTIC
    row = Row("beta1", before, low, high, reason, "beta1 stays", ("marek2025",), confidence)
    return Ruling(row, _candidates(case, before))


def _usual(case: Case) -> Row:
    if case.unit == "tokens":
        reason = "0.9 to 0.95 was best or next to it in these sweeps of language models; 0.98 was a cliff."
        sources = "wen2025", "orvieto2025"
    else:
        reason = "Winners of random searches had 0.46 to 0.97: little depends on it below sqrt(beta2)."
        sources = ("dahl2023", "zhang2022")
    return Row("beta1", USUAL, LOW, HIGH, reason, "beta1 < sqrt(beta2)", sources, PUBLISHED)


def _candidates(case: Case, before: float) -> tuple[Candidate, ...]:
    """Marek's and Malladi's; the latter where it lies in [0, 1)."""
    scaled = square_root_scaling(case.factor, 1.0, before, before).beta1
    kept = Candidate("same beta1 (Marek et al.)", before, ("marek2025",), chosen=True)
    other = Candidate("SDE scaling (Malladi et al.)", scaled, ("malladi2022",))
    return (kept, other) if 0 <= scaled < 1 else (kept,)

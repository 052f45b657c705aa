"""Recommend beta1: keep it, below sqrt(beta2)."""

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

DEFAULT = 0.9
LOW, HIGH = 0.8, 0.95


def beta1(run: RunSpec) -> Decision:
    """The value of the working setting at any batch size; 0.9 if there is none."""
    before = run.carried.beta1
    if before is None:
        return Decision(_default(run))
    reason = "beta1 stays: in a study of 11,521 runs, small batches did not need longer momentum."
    low, high = min(LOW, before), max(HIGH, before)
    confidence = PUBLISHED if before == DEFAULT else HEURISTIC
    row = Recommendation(
        "beta1", before, low, high, reason, "beta1 stays", ("marek2025",), confidence
    )
    return Decision(row, _candidates(run, before))


def _default(run: RunSpec) -> Recommendation:
    if run.unit == "tokens":
        reason = "0.9 to 0.95 was best or next to it in these sweeps of language models; 0.98 was a cliff."
        sources = "wen2025", "orvieto2025"
    else:
        reason = (
            "Winners of random searches had 0.46 to 0.97: below sqrt(beta2), beta1 matters little."
        )
        sources = ("dahl2023", "zhang2022")
    return Recommendation(
        "beta1", DEFAULT, LOW, HIGH, reason, "beta1 < sqrt(beta2)", sources, PUBLISHED
    )


def _candidates(run: RunSpec, before: float) -> tuple[Candidate, ...]:
    """The values of Marek et al. and of Malladi et al.; the latter if it is in [0, 1)."""
    scaled = square_root_scaling(run.factor, 1.0, before, before).beta1
    same = Candidate("same beta1 (Marek et al.)", before, ("marek2025",), chosen=True)
    other = Candidate("SDE scaling (Malladi et al.)", scaled, ("malladi2022",))
    return (same, other) if 0 <= scaled < 1 else (same,)

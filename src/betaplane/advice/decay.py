"""Recommend weight decay, from a working setting, a power law, or the normalized unit."""

from __future__ import annotations

from dataclasses import replace

from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.advice.settings import LR_EXPONENT
from betaplane.theory import coupled_decay, decay_horizon, normalized_decay

DEFAULT = {"tokens": 0.1, "samples": 0.01}
RANGE_FACTOR = 2.0
MAX_SHRINKAGE = 0.1  # lr * weight_decay, the fraction of the weights that one step removes


def decay(run: RunSpec, lr: float) -> Decision:
    """Weight decay as in torch's AdamW; one step shrinks weights by at most MAX_SHRINKAGE."""
    decision = _published(run, lr)
    row, limit = decision.row, MAX_SHRINKAGE / lr
    if not isinstance(row.value, float | int) or row.value <= limit:
        return decision
    reason = f"Capped: {row.value:.3g} would remove {lr * row.value:.3g} of the weights per step."
    ends = {"low": min(row.low or 0.0, limit), "high": limit}
    return replace(decision, row=replace(row, value=limit, reason=reason, **ends))


def _published(run: RunSpec, lr: float) -> Decision:
    """Weight decay without the cap."""
    if run.carried.weight_decay is not None:
        return _carried(run, run.carried.weight_decay)
    if run.unit == "tokens" and run.params and run.total and run.steps:
        return _power_law(run, lr)
    if run.epoch and run.total:
        return _normalized(run, lr)
    value = DEFAULT[run.unit]
    reason = "Default value; give the length of the run for a better estimate."
    source = "torch" if run.unit == "samples" else "brown2020"
    return Decision(
        Recommendation(
            "weight_decay", value, 0.0, 10 * value, reason, "habit", (source,), HEURISTIC
        )
    )


def _carried(run: RunSpec, value: float) -> Decision:
    reason = _reason(run, value)
    row = Recommendation(
        "weight_decay", value, value / RANGE_FACTOR, value * RANGE_FACTOR, reason,
        "batch / (lr weight_decay) stays", ("wang2024", "bergsma2025"), PUBLISHED,
    )  # fmt: skip
    before = value / run.factor ** (1 - LR_EXPONENT)
    unchanged = Candidate("same (torch's habit)", before, ("torch",))
    return Decision(
        row,
        (
            Candidate("same horizon (Wang & Aitchison)", value, ("wang2024",), chosen=True),
            unchanged,
        ),
    )


def _reason(run: RunSpec, value: float) -> str:
    """The reason for a weight decay that is carried over."""
    if value == 0:
        return "Your setting has no weight decay, so none is carried over."
    if run.carried.lr is None:
        return f"The weights then average over as many samples as before, if you also multiply lr by k^{LR_EXPONENT}."
    return "The weights then average over as many samples as before, at the new lr."


def _power_law(run: RunSpec, lr: float) -> Decision:
    law = run.evidence.laws["decay_power_lines"]
    # fraction of the run that the weights average over, at most all of it
    share = min(1.0, law["factor"] * ((run.total or 1) / (run.params or 1)) ** law["a"])
    value = float(decay_horizon(lr, share * (run.steps or 1)))
    part = "the whole run" if share == 1 else f"{share:.2g} of this run"
    reason = f"The weights should average over {part}; that share falls with tokens per parameter."
    formula = "1 / (lr steps min(1, 1.084 (tokens / params)^-0.527))"
    sources = "bergsma2025", "wang2024"
    row = Recommendation(
        "weight_decay",
        value,
        value / RANGE_FACTOR,
        value * RANGE_FACTOR,
        reason,
        formula,
        sources,
        PUBLISHED,
    )
    return Decision(
        row, (_chosen("Power Lines (Bergsma et al.)", value, "bergsma2025"), _habit(run))
    )


def _normalized(run: RunSpec, lr: float) -> Decision:
    unit = run.evidence.laws["decay_normalized"]["normalized"]
    epochs = (run.total or 1) / (run.epoch or 1)
    value = float(coupled_decay(normalized_decay(unit, run.batch, run.epoch or 1, epochs), lr))
    whole = float(decay_horizon(lr, run.steps or 1))
    formula = f"{unit:g} sqrt(batch / samples seen) / lr"
    low, high = sorted((whole, whole * max(1.0, epochs)))
    widened = "" if low <= value <= high else ", widened to this value"
    reason = (
        "Decay in a unit that is the same for runs of all lengths; the range is a memory of "
        f"{_epochs(epochs)}{widened}."
    )
    ends = min(low, value), max(high, value)
    row = Recommendation(
        "weight_decay", value, *ends, reason, formula, ("loshchilov2019", "wang2024"), PUBLISHED
    )
    return Decision(
        row, (_chosen("normalized (Loshchilov & Hutter)", value, "loshchilov2019"), _habit(run))
    )


def _epochs(count: float) -> str:
    return "all epochs to one" if count > 1 else "the whole run"


def _chosen(label: str, value: float, source: str) -> Candidate:
    return Candidate(label, value, (source,), chosen=True)


def _habit(run: RunSpec) -> Candidate:
    return Candidate(
        "habit", DEFAULT[run.unit], ("torch",) if run.unit == "samples" else ("brown2020",)
    )

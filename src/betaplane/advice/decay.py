"""Advice on weight decay: its horizon 1 / (lr weight_decay), carried over, by power law, or by the
normalized unit.
"""

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
from betaplane.theory import coupled_decay, decay_horizon, normalized_decay

USUAL = {"tokens": 0.1, "samples": 0.01}
AROUND = 2.0
MAX_SHRINKAGE = 0.1  # share of the weights that one step may take off, lr * weight_decay


def decay(case: RunSpec, lr: float) -> Decision:
    """Weight decay as in torch's AdamW, multiplied by lr; a step takes off at most MAX_SHRINKAGE."""
    decision = _published(case, lr)
    row, limit = decision.row, MAX_SHRINKAGE / lr
    if not isinstance(row.value, float | int) or row.value <= limit:
        return decision
    reason = f"Capped: {row.value:.3g} would take off {lr * row.value:.3g} of the weights per step."
    ends = {"low": min(row.low or 0.0, limit), "high": limit}
    return replace(decision, row=replace(row, value=limit, reason=reason, **ends))


def _published(case: RunSpec, lr: float) -> Decision:
    """Weight decay by what is known of the run."""
    if case.carried.weight_decay is not None:
        return _carried(case, case.carried.weight_decay)
    if case.unit == "tokens" and case.params and case.total and case.steps:
        return _power_law(case, lr)
    if case.epoch and case.total:
        return _normalized(case, lr)
    value = USUAL[case.unit]
    reason = "Habit: with the length of the run it can be told better."
    source = "torch" if case.unit == "samples" else "brown2020"
    return Decision(
        Recommendation(
            "weight_decay", value, 0.0, 10 * value, reason, "habit", (source,), HEURISTIC
        )
    )


def _carried(case: RunSpec, value: float) -> Decision:
    reason = _reason(case, value)
    row = Recommendation(
        "weight_decay", value, value / AROUND, value * AROUND, reason,
        "batch / (lr weight_decay) stays", ("wang2024", "bergsma2025"), PUBLISHED,
    )  # fmt: skip
    before = value / case.factor**0.5
    kept = Candidate("same (torch's habit)", before, ("torch",))
    return Decision(
        row, (Candidate("same horizon (Wang & Aitchison)", value, ("wang2024",), chosen=True), kept)
    )


def _reason(case: RunSpec, value: float) -> str:
    """The reason of a weight decay that was carried over."""
    if value == 0:
        return "Your setting has no weight decay, so none is carried over."
    if case.carried.lr is None:
        return "The weights then forget over as many samples as before, if you multiply your lr by sqrt(k) as well."
    return "The weights then forget over as many samples as before, at the new lr."


def _power_law(case: RunSpec, lr: float) -> Decision:
    law = case.evidence.laws["decay_power_lines"]
    # of the run, that weights remember
    share = law["factor"] * ((case.total or 1) / (case.params or 1)) ** law["a"]
    value = float(decay_horizon(lr, share * (case.steps or 1)))
    reason = f"The weights should remember {share:.2g} of this run: that share falls with tokens a parameter."
    formula = "1 / (lr steps 1.084 (tokens / params)^-0.527)"
    sources = "bergsma2025", "wang2024"
    row = Recommendation(
        "weight_decay", value, value / AROUND, value * AROUND, reason, formula, sources, PUBLISHED
    )
    return Decision(
        row, (_taken("Power Lines (Bergsma et al.)", value, "bergsma2025"), _habit(case))
    )


def _normalized(case: RunSpec, lr: float) -> Decision:
    unit = case.evidence.laws["decay_normalized"]["normalized"]
    epochs = (case.total or 1) / (case.epoch or 1)
    value = float(coupled_decay(normalized_decay(unit, case.batch, case.epoch or 1, epochs), lr))
    whole = float(decay_horizon(lr, case.steps or 1))
    formula = f"{unit:g} sqrt(batch / samples seen) / lr"
    low, high = sorted((whole, whole * max(1.0, epochs)))
    widened = "" if low <= value <= high else ", widened to this value"
    reason = f"Decay in a unit that carries over between lengths of runs; the range is a memory of {_epochs(epochs)}"
    reason += f"{widened}."
    ends = min(low, value), max(high, value)
    row = Recommendation(
        "weight_decay", value, *ends, reason, formula, ("loshchilov2019", "wang2024"), PUBLISHED
    )
    return Decision(
        row, (_taken("normalized (Loshchilov & Hutter)", value, "loshchilov2019"), _habit(case))
    )


def _epochs(count: float) -> str:
    return "all epochs to one" if count > 1 else "the whole run"


def _taken(label: str, value: float, source: str) -> Candidate:
    return Candidate(label, value, (source,), chosen=True)


def _habit(case: RunSpec) -> Candidate:
    return Candidate(
        "habit", USUAL[case.unit], ("torch",) if case.unit == "samples" else ("brown2020",)
    )

"""Recommend the length of warmup: twice the horizon of v, at most a tenth of the run."""

from __future__ import annotations

import math

from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
    mark_chosen,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.text import format_number
from betaplane.theory import linear_warmup_steps

MIN_SHARE, MAX_SHARE = 0.01, 0.1  # of the run
MAX_ROUNDING = 0.05  # relative; text states that a number is rounded if it changes by more


def warmup(run: RunSpec, beta2: float) -> Decision:
    """The old warmup in samples; else twice the horizon of v, within 5% to 10% of the run."""
    untuned = float(linear_warmup_steps(beta2))
    if run.carried.warmup is not None:
        return _carried(run, run.carried.warmup, beta2)
    formula = "2 / (1 - beta2)"
    if run.steps is None:
        reason = "By then v averages over its whole horizon, and early steps are no larger than later ones."
        return Decision(
            Recommendation(
                "warmup", untuned, untuned / 2, untuned * 2, reason, formula, ("ma2021",), PUBLISHED
            )
        )
    low, high = MIN_SHARE * run.steps, MAX_SHARE * run.steps
    value = min(max(untuned, run.evidence.laws["warmup_share"]["share"] * run.steps), high)
    formula += f", at least 5%, at most 10% of {run.steps:,.0f} steps"
    reason = _share_of_run(value, untuned)
    sources = "ma2021", "marek2025", "orvieto2025", "wen2025"
    row = Recommendation(
        "warmup", value, min(low, value), high, reason, formula, sources, PUBLISHED
    )
    return Decision(row, _candidates(run, value, untuned))


def _share_of_run(value: float, untuned: float) -> str:
    """The reason for twice the horizon of v, or for the nearest end of 5% to 10% of the run."""
    if value < untuned:
        why = f"the longest recommended; v has its whole horizon after {untuned:,.0f} steps."
        return f"A tenth of the run is {_steps(value)}, {why}"
    if value > untuned:
        why = "shorter ones diverged at large lr (Wen et al.)."
        return f"5% of the run, longer than the {untuned:,.0f} steps after which v has its whole horizon; {why}"
    return "Then v averages over its whole horizon; shorter ones diverged at large lr (Wen et al.)."


def _steps(value: float) -> str:
    """A number of steps as it is printed, and the exact number if rounding changes it by over 5%."""
    text = format_number("warmup", value)
    if abs(float(text) - value) <= MAX_ROUNDING * value:
        return f"{float(text):,.0f} steps"
    return f"{value:.2g} steps, rounded to {text}"


def _carried(run: RunSpec, before: float, beta2: float) -> Decision:
    """As many samples as before; a tenth of the run if the run has fewer samples."""
    steps, untuned = run.steps or math.inf, float(linear_warmup_steps(beta2))
    value = before if before < steps else MAX_SHARE * steps
    reason = _reason(before, value, beta2 == run.carried.beta2)
    row = Recommendation(
        "warmup", value, min(value, untuned), value, reason, "steps / k", ("marek2025",), HEURISTIC
    )
    label = (
        "as many samples, rounded" if "rounded" in _steps(before) else "as many samples as before"
    )
    candidates = (
        Candidate(label, before, ("marek2025",)),
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
    )
    return Decision(row, mark_chosen(candidates, value), _late(before, steps))


def _reason(before: float, value: float, same_memory: bool) -> str:
    """The reason for a warmup that is carried over; it is true of the number that is printed."""
    if before == 0:
        return "Your setting has no warmup, so none is carried over."
    if value < before:
        return f"The samples of your warmup do not fit into the run; a tenth of the run is {_steps(value)}."
    if "rounded" in (text := _steps(value)):
        return f"The samples of your warmup are {text}{'' if round(value) else ', which is none'}."
    memory = ", and v averages over as many" if same_memory else ""
    return f"Warmup has as many samples as before{memory}."


def _late(before: float, steps: float) -> tuple[str, ...]:
    if before <= MAX_SHARE * steps:
        return ()
    tenth = _steps(MAX_SHARE * steps)
    if before < steps:
        return (f"Warmup of {before:,.0f} steps is more than a tenth of the run; take {tenth}.",)
    return (
        f"Warmup of {before:,.0f} steps would not end before the run; reduced to a tenth of it, {tenth}.",
    )


def _candidates(run: RunSpec, value: float, untuned: float) -> tuple[Candidate, ...]:
    steps, laws = run.steps or 0.0, run.evidence.laws
    candidates = (
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
        Candidate(
            "5% of the run (Marek et al.)", laws["warmup_share"]["share"] * steps, ("marek2025",)
        ),
        Candidate(
            "10% of the run (Orvieto & Gower)",
            laws["warmup_long"]["share"] * steps,
            ("orvieto2025",),
        ),
    )
    return mark_chosen(candidates, value)

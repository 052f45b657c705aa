"""Advice on the length of warmup: twice v's memory, or the samples it had before, within a tenth of
the run.
"""

from __future__ import annotations

import math

from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
    marked,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.text import format_number
from betaplane.theory import linear_warmup_steps

SHORTEST, LONGEST = 0.01, 0.1  # of the run
ROUNDED = 0.05  # of a number of steps: what is rounded by more is said to be


def warmup(case: RunSpec, beta2: float) -> Decision:
    """The warmup before, in samples; else twice the memory of v, within 5 to 10 % of the run."""
    untuned = float(linear_warmup_steps(beta2))
    if case.carried.warmup is not None:
        return _carried(case, case.carried.warmup, untuned)
    formula = "2 / (1 - beta2)"
    if case.steps is None:
        reason = "By then v is an average over its whole memory, and early steps are no larger than later ones."
        return Decision(
            Recommendation(
                "warmup", untuned, untuned / 2, untuned * 2, reason, formula, ("ma2021",), PUBLISHED
            )
        )
    low, high = SHORTEST * case.steps, LONGEST * case.steps
    value = min(max(untuned, case.evidence.laws["warmup_share"]["share"] * case.steps), high)
    formula += f", at least 5 %, at most 10 % of {case.steps:,.0f} steps"
    reason = _share_of_run(value, untuned)
    sources = "ma2021", "marek2025", "orvieto2025", "wen2025"
    row = Recommendation(
        "warmup", value, min(low, value), high, reason, formula, sources, PUBLISHED
    )
    return Decision(row, _candidates(case, value, untuned))


def _share_of_run(value: float, untuned: float) -> str:
    """The reason of a warmup of twice v's memory, or of the end of 5 to 10 % of the run that is
    nearest to it.
    """
    if value < untuned:
        why = f"the longest that is advised; v has its whole memory after {untuned:,.0f} steps."
        return f"A tenth of the run is {_steps(value)}, {why}"
    if value > untuned:
        why = "shorter ones diverged at large lr (Wen et al.)."
        return f"5% of the run, longer than the {untuned:,.0f} steps after which v has its whole memory; {why}"
    return "Then v is an average over its whole memory; shorter ones diverged at large lr (Wen et al.)."


def _steps(value: float) -> str:
    """A number of steps as it is written, and what it was before if rounding changes it by more
    than a twentieth.
    """
    text = format_number("warmup", value)
    if abs(float(text) - value) <= ROUNDED * value:
        return f"{float(text):,.0f} steps"
    return f"{value:.2g} steps, rounded to {text}"


def _carried(case: RunSpec, before: float, untuned: float) -> Decision:
    """As many samples as before; a tenth of a run that ends within them."""
    steps = case.steps or math.inf
    value = before if before < steps else LONGEST * steps
    reason = _reason(before, value)
    row = Recommendation(
        "warmup", value, min(value, untuned), value, reason, "steps / k", ("marek2025",), HEURISTIC
    )
    label = (
        "samples of before, rounded" if "rounded" in _steps(before) else "as many samples as before"
    )
    candidates = (
        Candidate(label, before, ("marek2025",)),
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
    )
    return Decision(row, marked(candidates, value), _late(before, steps))


def _reason(before: float, value: float) -> str:
    """The reason of a warmup that was carried over: what is said of its samples is true of the
    steps as written.
    """
    if before == 0:
        return "Your setting has no warmup, so none is carried over."
    if value < before:
        return f"The samples of your warmup do not fit into the run; a tenth of the run is {_steps(value)}."
    if "rounded" in (text := _steps(value)):
        return f"The samples of your warmup are {text}{'' if round(value) else ': none is left'}."
    return "It takes as many samples as before, and v has as many to average over."


def _late(before: float, steps: float) -> tuple[str, ...]:
    if before <= LONGEST * steps:
        return ()
    tenth = _steps(LONGEST * steps)
    if before < steps:
        return (f"Warmup of {before:,.0f} steps is more than a tenth of the run; take {tenth}.",)
    return (
        f"Warmup of {before:,.0f} steps would not end before the run; lowered to a tenth of it, {tenth}.",
    )


def _candidates(case: RunSpec, value: float, untuned: float) -> tuple[Candidate, ...]:
    steps, laws = case.steps or 0.0, case.evidence.laws
    found = (
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
        Candidate(
            "5 % of the run (Marek et al.)", laws["warmup_share"]["share"] * steps, ("marek2025",)
        ),
        Candidate(
            "10 % of the run (Orvieto & Gower)",
            laws["warmup_long"]["share"] * steps,
            ("orvieto2025",),
        ),
    )
    return marked(found, value)

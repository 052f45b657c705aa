"""Advice on the length of warmup: twice v's memory, or the samples it had before, within a tenth of the run."""

from __future__ import annotations

import math

from betaplane.advice.recommendation import HEURISTIC, PUBLISHED, Candidate, Decision, Recommendation, marked
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import linear_warmup_steps

SHORTEST, LONGEST = 0.01, 0.1  # of the run


def warmup(case: RunSpec, beta2: float) -> Decision:
    """The warmup before, in samples; else twice the memory of v, within 5 to 10 % of the run."""
    untuned = float(linear_warmup_steps(beta2))
    if case.carried.warmup is not None:
        return _carried(case, case.carried.warmup, untuned)
    formula = "2 / (1 - beta2)"
    if case.steps is None:
        reason = "By then v is an average over its whole memory, and early steps are no larger than later ones."
        return Decision(
            Recommendation("warmup", untuned, untuned / 2, untuned * 2, reason, formula, ("ma2021",), PUBLISHED)
        )
    low, high = SHORTEST * case.steps, LONGEST * case.steps
    value = min(max(untuned, case.evidence.laws["warmup_share"]["share"] * case.steps), high)
    formula += f", at least 5 %, at most 10 % of {case.steps:,.0f} steps"
    reason = "Then v is an average over its whole memory; shorter ones diverged at large lr (Wen et al.)."
    if value < untuned:
        reason = (
            f"A tenth of the run is the longest that is advised; v has its whole memory after {untuned:,.0f} steps."
        )
    sources = "ma2021", "marek2025", "orvieto2025", "wen2025"
    row = Recommendation("warmup", value, min(low, value), high, reason, formula, sources, PUBLISHED)
    return Decision(row, _candidates(case, value, untuned))


def _carried(case: RunSpec, before: float, untuned: float) -> Decision:
    """As many samples as before; a tenth of a run that ends within them."""
    steps = case.steps or math.inf
    value = before if before < steps else LONGEST * steps
    reason = "It takes as many samples as before, and v has as many to average over."
    if value < before:
        reason = "As many samples as before do not fit; this is a tenth of the run."
    row = Recommendation("warmup", value, min(value, untuned), value, reason, "steps / k", ("marek2025",), HEURISTIC)
    candidates = (
        Candidate("as many samples as before", before, ("marek2025",)),
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
    )
    return Decision(row, marked(candidates, value), _late(before, steps))


def _late(before: float, steps: float) -> tuple[str, ...]:
    if before <= LONGEST * steps:
        return ()
    if before < steps:
        return (f"Warmup of {before:,.0f} steps is more than a tenth of the run; take {LONGEST * steps:,.0f}.",)
    return (f"Warmup of {before:,.0f} steps would not end before the run; lowered to {LONGEST * steps:,.0f}.",)


def _candidates(case: RunSpec, value: float, untuned: float) -> tuple[Candidate, ...]:
    steps, laws = case.steps or 0.0, case.evidence.laws
    found = (
        Candidate("2 / (1 - beta2) (Ma & Yarats)", untuned, ("ma2021",)),
        Candidate("5 % of the run (Marek et al.)", laws["warmup_share"]["share"] * steps, ("marek2025",)),
        Candidate("10 % of the run (Orvieto & Gower)", laws["warmup_long"]["share"] * steps, ("orvieto2025",)),
    )
    return marked(found, value)

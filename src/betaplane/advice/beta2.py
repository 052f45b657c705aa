"""Advice on beta2 and its window: what was measured, what is carried over, what was best elsewhere,
what theorems ask.

The order of trust: trainings of your own problem; your own setting, carried over by a rule that
experiments confirm; settings that were best in published sweeps. Recorded gradients, replayed,
raise the last two to the threshold they show. The thresholds of theorems are shown and never taken:
their constants are not published, and they hold for the worst problem of a class. What is a theorem
for every problem, the bounded update at beta1 < sqrt(beta2), is the floor under all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from betaplane.advice.measurements import Threshold
from betaplane.advice.recommendation import (
    HEURISTIC,
    MEASURED,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
    marked,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.text import format_beta
from betaplane.theory import (
    beta_from_half_life,
    critical_first_order,
    same_half_life,
    shi_threshold,
    square_root_scaling,
    zhang_threshold,
)

CLOSEST = 1 - 2.0**-53  # to 1 that a float64 comes
HIGHEST = 0.99999  # what published sweeps found best lies below
LONGEST = 0.1  # of the run: a longer memory horizon of v has not settled when the run ends
USUAL = {"tokens": 0.95, "samples": 0.999}
AROUND = 4.0  # a setting of your own is trusted to this factor of its memory horizon


def beta2(case: RunSpec, beta1: float) -> Decision:
    """The first answer in the order of trust, held above the floor and inside the run; your own
    stays as it is.
    """
    row = _measured(case) or _raised(case, _carried(case) or _published(case) or _usual(case))
    floor, ceiling = beta1**2, max(_settling(case), beta1)
    value = float(row.value)
    held = value if _stays(case, value) and value > floor else min(max(value, beta1), ceiling)
    notes = _notes(case, value, held, beta1)
    low, high = (min(max(end, floor), ceiling) for end in (row.low or 0.0, row.high or HIGHEST))
    row = replace(row, value=held, low=min(low, held), high=max(high, held))
    if held != value:
        row = replace(row, reason=_at_the_end(value, held), confidence=HEURISTIC)
    return Decision(row, marked(_candidates(case), held) + _thresholds(case, beta1), notes)


def window(case: RunSpec, beta1: float) -> tuple[float, float]:
    """The ends of the window of beta2."""
    row = beta2(case, beta1).row
    return float(row.low or 0), float(row.high or 0)


def _measured(case: RunSpec) -> Recommendation | None:
    found = case.map
    if found is None:
        return None
    k = 1.0 if found.batch is None else case.batch / found.batch
    low, best, high = (float(same_half_life(one, k)) for one in (found.low, found.best, found.high))
    ends = f"{format_beta(found.low)} to {format_beta(found.high)}"
    open_ends = [
        name for name, is_open in (("lower", found.open_low), ("upper", found.open_high)) if is_open
    ]
    more = f", perhaps beyond the map's {' and '.join(open_ends)} end" if open_ends else ""
    reason = f"On your map of {found.problem} training is good from {ends}{more}, at beta1 = {found.beta1:.4g}."
    at = "the Trainer's own batch" if found.batch is None else f"batch {found.batch:g}"
    formula = f"window of {found.trainings} trainings, {at}"
    if k == 1:
        return Recommendation("beta2", best, low, high, reason, formula, ("your_map",), MEASURED)
    formula += f"; beta2^k, k = {k:.4g}"
    return Recommendation(
        "beta2", best, low, high, reason, formula, ("your_map", "marek2025"), PUBLISHED
    )


def _raised(case: RunSpec, row: Recommendation) -> Recommendation:
    """The row with its window and value at least at the threshold that recorded gradients show."""
    found = case.replay
    if found is None or not found.beta2 > float(row.low or 0):
        return row
    changed = f", batches {found.changed}" if found.changed else ""
    reason = f"Below {format_beta(found.beta2)} the mean update of your recorded gradients loses its direction."
    replayed = f"threshold of {found.rows} minibatches replayed at beta1 = {found.beta1:.4g}"
    formula = f"{replayed}{changed}; then {row.formula}"
    if float(row.value) > found.beta2:
        return replace(row, low=found.beta2, sources=("your_gradients", *row.sources))
    high = max(float(row.high or 0), 1 - (1 - found.beta2) / AROUND)
    return Recommendation(
        "beta2",
        found.beta2,
        found.beta2,
        high,
        reason,
        formula,
        ("your_gradients", *row.sources),
        MEASURED,
    )


def _carried(case: RunSpec) -> Recommendation | None:
    value = case.carried.beta2
    if value is None:
        return None
    low, high = (1 - (1 - value) * by for by in (AROUND, 1 / AROUND))
    reason = "v then remembers as many samples as it did where your setting worked."
    formula = f"beta2^k, k = new batch / old = {case.factor:.4g}"
    return Recommendation(
        "beta2", value, max(low, 0.0), high, reason, formula, ("marek2025",), PUBLISHED
    )


def _published(case: RunSpec) -> Recommendation | None:
    spread = case.evidence.half_lives(case.unit)
    if spread is None:
        return None
    low, middle, high = (
        float(beta_from_half_life(one, case.batch))
        for one in (spread.low, spread.middle, spread.high)
    )
    reason = (
        f"v's half-life was best at {spread.middle:.2g} {case.unit} ({spread.low:.1g} to {spread.high:.1g}) in "
        "published sweeps."
    )
    formula = f"2^(-batch / {spread.middle:.2g})"
    return Recommendation("beta2", middle, low, high, reason, formula, spread.sources, PUBLISHED)


def _usual(case: RunSpec) -> Recommendation:
    reason = "No sweep of such a run is known here: torch's default, or language models' habit."
    source = "torch" if case.unit == "samples" else "brown2020"
    return Recommendation(
        "beta2", USUAL[case.unit], 0.0, HIGHEST, reason, "habit", (source,), HEURISTIC
    )


def _at_the_end(wanted: float, held: float) -> str:
    """The reason of a value at an end of what is advised: what its source says of another value is
    not true of it.
    """
    end = "smallest" if held > wanted else "largest"
    return f"It is the {end} that is advised here; what its formula asks for, {format_beta(wanted)}, is beyond."


def _stays(case: RunSpec, value: float) -> bool:
    """Whether it is the value that worked at this very batch size."""
    return case.factor == 1 and value == case.carried.beta2


def _settling(case: RunSpec) -> float:
    """The largest beta2 that is advised, and whose v settles in a run of this length where that is
    known.
    """
    return (
        HIGHEST
        if case.steps is None
        else max(0.5, min(HIGHEST, 1 - 1 / max(1.1, LONGEST * case.steps)))
    )


def _notes(case: RunSpec, wanted: float, held: float, beta1: float) -> tuple[str, ...]:
    notes = _moved(case, wanted, held, beta1)
    if case.replay is not None:
        notes.append(_replayed(case.replay))
    asked = _thresholds(case, beta1)
    if asked:
        told = "; ".join(f"{_near_one(one.value)} ({one.label})" for one in asked)
        n = f"n = {case.minibatches:,.0f} minibatches"
        notes.append(
            f"For the worst problem theorems ask for more than anybody sets, at {n}: 1 - beta2 = {told}."
        )
    return tuple(notes)


def _moved(case: RunSpec, wanted: float, held: float, beta1: float) -> list[str]:
    """Why beta2 is not what its source asks for, or that it stays in a run that is short for it."""
    text, least, settling = format_beta(wanted), format_beta(beta1), _settling(case)
    if held > wanted:
        return [
            f"beta2 = {text} would lie below beta1 = {least}; raised to it: no update then exceeds lr."
        ]
    if held < wanted and settling == HIGHEST:
        return [
            f"beta2 = {text} is above {max(HIGHEST, held):.6g}, the largest that is advised here; lowered to it."
        ]
    if held < wanted:
        floor = f" to beta1 = {least}, below which it is not advised" if held > settling else ""
        return [f"beta2 = {text} would remember more than a tenth of the run; lowered{floor}."]
    if held > settling and settling < HIGHEST:
        return [
            f"beta2 = {text} remembers more than a tenth of the run; it stays, for it worked at this batch size."
        ]
    return []


def _near_one(beta2: float) -> str:
    """1 - beta2, or that no float64 comes so close."""
    return f"{1 - beta2:.2g}" if beta2 < CLOSEST else "less than a float64 can say"


def _replayed(found: Threshold) -> str:
    where = f"at beta1 = {found.beta1:.4g}, predicted and not trained"
    if math.isnan(found.beta2):
        return (
            f"Your recorded gradients, replayed, have no good beta2 {where}: record more of them."
        )
    if found.beta2 == 0:
        return f"Your recorded gradients, replayed, are good at every beta2 {where}."
    return f"Your recorded gradients, replayed, are good from beta2 = {format_beta(found.beta2)} on {where}."


def _candidates(case: RunSpec) -> list[Candidate]:
    """Everybody's beta2, those that have one here, in the order of trust."""
    mine = _measured(case)
    found = [Candidate("your map", float(mine.value), mine.sources)] if mine else []
    if case.carried.beta2 is not None and case.before is not None and case.before.beta2 is not None:
        scaled = square_root_scaling(case.factor, 1.0, 0.0, case.before.beta2).beta2
        found.append(Candidate("same half-life (Marek et al.)", case.carried.beta2, ("marek2025",)))
        found += (
            [Candidate("SDE scaling (Malladi et al.)", scaled, ("malladi2022",))]
            if 0 <= scaled < 1
            else []
        )
    elsewhere = _published(case)
    if elsewhere is not None and (case.epoch or case.unit == "tokens" or case.before is None):
        found.append(Candidate("best in sweeps", float(elsewhere.value), elsewhere.sources))
    if case.steps and case.steps > (horizons := case.evidence.laws["refresh"]["horizons"]):
        label = "1000 horizons a run (Fernandez-Hernandez et al.)"
        found.append(Candidate(label, 1 - horizons / case.steps, ("fernandez2026",)))
    found.append(
        Candidate(
            "habit", USUAL[case.unit], ("torch",) if case.unit == "samples" else ("brown2020",)
        )
    )
    return found


def _thresholds(case: RunSpec, beta1: float) -> tuple[Candidate, ...]:
    """What theorems ask for, with a constant of 1 where none is published."""
    n = case.minibatches
    if n is None or n < 3:
        return ()
    asked = {
        "exact, on the counterexample": (1 - critical_first_order(round(n)), "betaplane"),
        "Shi et al., constant 1": (shi_threshold(n), "shi2021"),
        "Zhang et al., constant 1": (zhang_threshold(beta1, n), "zhang2026"),
    }
    return tuple(
        Candidate(label, min(float(value), CLOSEST), (source,), bound=True)
        for label, (value, source) in asked.items()
        if value >= 0
    )

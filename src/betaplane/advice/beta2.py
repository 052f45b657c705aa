"""Recommend beta2 and its window, from measurements, a working setting or published sweeps.

The order of trust: runs of your own problem; your own setting, carried over by a rule that
experiments confirm; settings that were best in published sweeps. The threshold of recorded
gradients is a lower limit for the last two. The thresholds of theorems are shown but never used:
their constants are not published, and they hold for the worst problem of a class. One theorem
holds for every problem, and is a lower limit for all values: updates are bounded if
beta1 < sqrt(beta2).
"""

from __future__ import annotations

import math
from dataclasses import replace

from betaplane.advice.half_lives import Spread
from betaplane.advice.measurements import Threshold
from betaplane.advice.recommendation import (
    HEURISTIC,
    MEASURED,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
    mark_chosen,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.text import format_beta
from betaplane.theory import (
    beta_from_half_life,
    critical_first_order,
    half_life,
    same_half_life,
    shi_threshold,
    square_root_scaling,
    zhang_threshold,
)

MAX_FLOAT64 = 1 - 2.0**-53  # largest float64 below 1
MAX_BETA2 = 0.99999  # the best values of published sweeps are smaller
MAX_HORIZON_SHARE = 0.1  # of the run: with a longer horizon, v has not settled at the end
DEFAULT = {"tokens": 0.95, "samples": 0.999}
TUNE_RUNS = 48  # what `betaplane tune` trains at most by default
RANGE_FACTOR = 4.0  # of the memory horizon of a working setting, to each side


def beta2(run: RunSpec, beta1: float) -> Decision:
    """The first value in the order of trust, clipped to the limits of the run.

    A value that works at this batch size is not clipped.
    """
    row = _measured(run) or _raised(run, _carried(run) or _published(run) or _default(run))
    least, most = beta1**2, max(_max_settled(run), beta1)
    wanted = float(row.value)
    value = min(max(wanted, beta1), most)
    if _works_here(run, wanted) and wanted > least:
        value = wanted
    low, high = (min(max(end, least), most) for end in (row.low or 0.0, row.high or MAX_BETA2))
    row = replace(row, value=value, low=min(low, value), high=max(high, value))
    if value != wanted:
        row = replace(row, reason=_clipped_reason(wanted, value), confidence=HEURISTIC)
    candidates = mark_chosen(_candidates(run), value) + _thresholds(run, beta1)
    return Decision(row, candidates, _notes(run, wanted, value, beta1))


def window(run: RunSpec, beta1: float) -> tuple[float, float]:
    """The ends of the window of beta2."""
    row = beta2(run, beta1).row
    return float(row.low or 0), float(row.high or 0)


def _measured(run: RunSpec) -> Recommendation | None:
    window = run.map
    if window is None:
        return None
    k = 1.0 if window.batch is None else run.batch / window.batch
    betas = (window.low, window.best, window.high)
    low, best, high = (float(same_half_life(beta, k)) for beta in betas)
    ends = f"{format_beta(window.low)} to {format_beta(window.high)}"
    is_open = {"lower": window.open_low, "upper": window.open_high}
    open_ends = [end for end in is_open if is_open[end]]
    more = f", perhaps beyond the map's {' and '.join(open_ends)} end" if open_ends else ""
    reason = (
        f"On your map of {window.problem} training is good from {ends}{more}, "
        f"at beta1 = {window.beta1:.4g}."
    )
    batch = "the Trainer's own batch" if window.batch is None else f"batch {window.batch:g}"
    formula = f"window of {window.trainings} runs, {batch}"
    if k == 1:
        return Recommendation("beta2", best, low, high, reason, formula, ("your_map",), MEASURED)
    formula += f"; beta2^k, k = {k:.4g}"
    return Recommendation(
        "beta2", best, low, high, reason, formula, ("your_map", "marek2025"), PUBLISHED
    )


def _raised(run: RunSpec, row: Recommendation) -> Recommendation:
    """The row with its window and value raised to the threshold of the recorded gradients."""
    threshold = run.replay
    if threshold is None or not threshold.beta2 > float(row.low or 0):
        return row
    changed = f", batches {threshold.changed}" if threshold.changed else ""
    reason = f"Below {format_beta(threshold.beta2)} the mean update of your recorded gradients loses its direction."
    replayed = (
        f"threshold of {threshold.rows} minibatches replayed at beta1 = {threshold.beta1:.4g}"
    )
    formula = f"{replayed}{changed}; then {row.formula}"
    if float(row.value) > threshold.beta2:
        return replace(row, low=threshold.beta2, sources=("your_gradients", *row.sources))
    high = max(float(row.high or 0), 1 - (1 - threshold.beta2) / RANGE_FACTOR)
    return Recommendation(
        "beta2",
        threshold.beta2,
        threshold.beta2,
        high,
        reason,
        formula,
        ("your_gradients", *row.sources),
        MEASURED,
    )


def _carried(run: RunSpec) -> Recommendation | None:
    value = run.carried.beta2
    if value is None:
        return None
    low, high = (1 - (1 - value) * by for by in (RANGE_FACTOR, 1 / RANGE_FACTOR))
    reason = "Keeps the memory of v, in samples, the same as in your working setting."
    formula = f"beta2^k, k = new batch / old = {run.factor:.4g}"
    return Recommendation(
        "beta2", value, max(low, 0.0), high, reason, formula, ("marek2025",), PUBLISHED
    )


def _published(run: RunSpec) -> Recommendation | None:
    spread = run.evidence.half_lives(run.unit)
    if spread is None:
        return None
    if not spread.known:
        return _unknown(run, spread)
    low, point, high = (
        float(beta_from_half_life(half_life, run.batch))
        for half_life in (spread.low, spread.point, spread.high)
    )
    reason = (
        f"v's half-life was best between {spread.low:.1g} and {spread.high:.1g} {run.unit} in published sweeps; "
        "too short costs more than too long."
    )
    formula = f"2^(-batch / {spread.point:.2g})"
    return Recommendation("beta2", point, low, high, reason, formula, spread.sources, PUBLISHED)


def _unknown(run: RunSpec, spread: Spread) -> Recommendation:
    """The default of torch; for a tiny batch the smallest beta2 that was best in a published search."""
    shortest = run.evidence.shortest_half_life(run.unit)
    least = 0.0 if shortest is None else float(beta_from_half_life(shortest, run.batch))
    value = max(DEFAULT[run.unit], least)
    reason = f"Nothing is known for this kind of data: measure (`betaplane tune`, about {TUNE_RUNS} runs)."
    formula = (
        f"habit; the best half-lives of published searches spread over {spread.decades:.2g} decades"
        if shortest is None or value == DEFAULT[run.unit]
        else f"2^(-batch / {shortest:.2g}), the shortest half-life of published searches"
    )
    sources = ("torch", *spread.sources) if run.unit == "samples" else spread.sources
    return Recommendation("beta2", value, 0.0, MAX_BETA2, reason, formula, sources, HEURISTIC)


def _default(run: RunSpec) -> Recommendation:
    reason = (
        "No sweep of such a run is known: the default of torch, or the habit for language models."
    )
    source = "torch" if run.unit == "samples" else "brown2020"
    return Recommendation(
        "beta2", DEFAULT[run.unit], 0.0, MAX_BETA2, reason, "habit", (source,), HEURISTIC
    )


def _clipped_reason(wanted: float, value: float) -> str:
    """The reason for a value at a limit; the reason of its source holds for another value."""
    end = "smallest" if value > wanted else "largest"
    return f"The {end} value recommended here; the formula gives {format_beta(wanted)}, beyond it."


def _works_here(run: RunSpec, value: float) -> bool:
    """Whether the value is the one that works at this batch size."""
    return run.factor == 1 and value == run.carried.beta2


def _max_settled(run: RunSpec) -> float:
    """The largest beta2 for which v settles in this run, at most MAX_BETA2."""
    if run.steps is None:
        return MAX_BETA2
    return max(0.5, min(MAX_BETA2, 1 - 1 / max(1.1, MAX_HORIZON_SHARE * run.steps)))


def _notes(run: RunSpec, wanted: float, value: float, beta1: float) -> tuple[str, ...]:
    notes = _clipping_note(run, wanted, value, beta1) + _low_note(run)
    if run.replay is not None:
        notes.append(_replay_note(run.replay))
    bounds = _thresholds(run, beta1)
    if bounds:
        gaps = "; ".join(f"{_gap(bound.value)} ({bound.label})" for bound in bounds)
        n = f"n = {run.minibatches:,.0f} minibatches"
        notes.append(
            "For the worst problem, theorems need a beta2 closer to 1 than is ever used, "
            f"at {n}: 1 - beta2 = {gaps}."
        )
    return tuple(notes)


def _clipping_note(run: RunSpec, wanted: float, value: float, beta1: float) -> list[str]:
    """Why beta2 differs from the value of its source, or is kept in a run that is too short."""
    text, least, settled = format_beta(wanted), format_beta(beta1), _max_settled(run)
    if value > wanted:
        return [
            f"beta2 = {text} is below beta1 = {least}; raised to it: no update then exceeds lr."
        ]
    if value < wanted and settled == MAX_BETA2:
        limit = f"{max(MAX_BETA2, value):.6g}"
        return [f"beta2 = {text} is above {limit}, the largest recommended value; lowered to it."]
    if value < wanted:
        limit = f" to beta1 = {least}, the smallest recommended value" if value > settled else ""
        return [f"beta2 = {text} would average over more than a tenth of the run; lowered{limit}."]
    if value > settled and settled < MAX_BETA2:
        reason = "kept, because it works at this batch size"
        return [f"beta2 = {text} averages over more than a tenth of the run; {reason}."]
    return []


def _low_note(run: RunSpec) -> list[str]:
    """A warning if the working setting has a shorter half-life than every published best one."""
    before = run.before
    shortest = run.evidence.shortest_half_life(run.unit)
    if before is None or before.beta2 is None or before.batch is None or shortest is None:
        return []
    if half_life(before.beta2, before.batch) >= shortest:
        return []
    least = format_beta(float(beta_from_half_life(shortest, before.batch)))
    return [
        f"Your beta2 = {format_beta(before.beta2)} at a batch of {before.batch:g} {run.unit} is "
        f"below the best one of every published sweep or random search, at least {least} at this batch size."
    ]


def _gap(beta2: float) -> str:
    """1 - beta2, if a float64 can represent it."""
    return f"{1 - beta2:.2g}" if beta2 < MAX_FLOAT64 else "less than float64 can represent"


def _replay_note(threshold: Threshold) -> str:
    place = f"at beta1 = {threshold.beta1:.4g} (predicted, not trained)"
    if math.isnan(threshold.beta2):
        return f"Your recorded gradients have no good beta2 {place}: record more of them."
    if threshold.beta2 == 0:
        return f"Your recorded gradients are good at every beta2 {place}."
    return (
        f"Your recorded gradients are good from beta2 = {format_beta(threshold.beta2)} on, {place}."
    )


def _candidates(run: RunSpec) -> list[Candidate]:
    """The beta2 of every source that has one for this run, in the order of trust."""
    measured = _measured(run)
    candidates: list[Candidate] = []
    if measured:
        candidates.append(Candidate("your map", float(measured.value), measured.sources))
    if run.carried.beta2 is not None and run.before is not None and run.before.beta2 is not None:
        scaled = square_root_scaling(run.factor, 1.0, 0.0, run.before.beta2).beta2
        same = Candidate("same half-life (Marek et al.)", run.carried.beta2, ("marek2025",))
        candidates.append(same)
        if 0 <= scaled < 1:
            candidates.append(Candidate("SDE scaling (Malladi et al.)", scaled, ("malladi2022",)))
    published = _published(run)
    if published is not None and published.confidence == PUBLISHED:
        candidates.append(Candidate("best in sweeps", float(published.value), published.sources))
    if run.steps and run.steps > (horizons := run.evidence.laws["refresh"]["horizons"]):
        label = "1000 horizons per run (Fernandez-Hernandez et al.)"
        candidates.append(Candidate(label, 1 - horizons / run.steps, ("fernandez2026",)))
    source = "torch" if run.unit == "samples" else "brown2020"
    return [*candidates, Candidate("habit", DEFAULT[run.unit], (source,))]


def _thresholds(run: RunSpec, beta1: float) -> tuple[Candidate, ...]:
    """The thresholds of theorems, with a constant of 1 if none is published."""
    n = run.minibatches
    if n is None or n < 3:
        return ()
    thresholds = {
        "exact, on the counterexample": (1 - critical_first_order(round(n)), "betaplane"),
        "Shi et al., constant 1": (shi_threshold(n), "shi2021"),
        "Zhang et al., constant 1": (zhang_threshold(beta1, n), "zhang2026"),
    }
    return tuple(
        Candidate(label, min(float(value), MAX_FLOAT64), (source,), bound=True)
        for label, (value, source) in thresholds.items()
        if value >= 0
    )

"""Detectors of weights that do not move as they should: rounded, decayed, or left by the schedule."""

from __future__ import annotations

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading

ROUNDED_CAUSE = "updates rounded away"
DECAY_CAUSE = "weight decay too strong"
ENDED_CAUSE = "learning rate near zero"
ROUNDED_LIMITS = limits(ROUNDED_CAUSE)
DECAY_LIMITS = limits(DECAY_CAUSE)
ENDED_LIMITS = limits(ENDED_CAUSE)


def _find_rounded(history: History, threshold: float) -> Finding | None:
    least, peaks = ROUNDED_LIMITS["lr"], history.readings.peaks
    readings = [r for r in _matrices(history) if r.lr > least * peaks[r.layer].lr]
    rounded = [reading for reading in readings if reading.unmoved > threshold]
    if not rounded or len(rounded) < ROUNDED_LIMITS["tensors"] * len(readings):
        return None
    worst = max(rounded, key=lambda reading: reading.unmoved)
    if len(history.readings[worst.layer]) < ROUNDED_LIMITS["readings"]:
        return None
    evidence = f"{worst.unmoved:.0%} of the weights did not change, although they have a gradient"
    change = "keep a float32 copy of the weights, or round stochastically"
    return Finding(worst.layer, evidence, change, {})


def _find_strong_decay(history: History, threshold: float) -> Finding | None:
    readings = _matrices(history)
    strong = [reading for reading in readings if reading.shrink > threshold]
    if not strong:
        return None
    worst = max(strong, key=lambda reading: reading.shrink)
    decay = DECAY_LIMITS["target"] / worst.lr
    evidence = (
        f"decay removes {worst.shrink:.1%} of the weights per step (lr times weight_decay): they "
        f"remember {1 / worst.shrink:.0f} steps"
    )
    return Finding(
        worst.layer, evidence, f"weight_decay={decay:.1g}", {"weight_decay": float(f"{decay:.1g}")}
    )


def _find_ended(history: History, threshold: float) -> Finding | None:
    readings = history.readings
    latest = readings.latest()
    if not latest or history.step < ENDED_LIMITS["steps"]:
        return None
    layer = max(latest, key=lambda reading: reading.lr).layer
    lrs, steps = readings[layer].column("lr"), readings[layer].column("step")
    peak = readings.peaks[layer].lr
    high = (lrs >= threshold * peak).nonzero()[0] if peak > 0 else []
    low = steps[high[-1] + 1 :] if len(high) else steps  # since the last reading above
    if not len(low):
        return None
    share = (history.step - int(low[0])) / history.step
    if share < ENDED_LIMITS["share"]:
        return None
    evidence = (
        f"lr {lrs[-1]:.2g} since step {int(low[0])} of {history.step}, {peak:.2g} at its peak"
    )
    change = (
        "give the scheduler the number of times that you call its step(), per batch or per epoch"
    )
    return Finding("", evidence, change, {"lr": peak} if peak else {})


def _matrices(history: History) -> list[Reading]:
    return [reading for reading in history.current_readings() if len(reading.shape) > 1]


ROUNDED_UPDATES = Detector(
    cause=ROUNDED_CAUSE,
    why="The update is smaller than half the distance between neighboring numbers of the weights' dtype.",
    find=_find_rounded,
)
STRONG_DECAY = Detector(
    cause=DECAY_CAUSE,
    why="The weights forget what they learn faster than gradients can teach them.",
    find=_find_strong_decay,
)
ENDED_SCHEDULE = Detector(
    cause=ENDED_CAUSE,
    why="The schedule ended long before the run did: nothing is learned anymore.",
    find=_find_ended,
)

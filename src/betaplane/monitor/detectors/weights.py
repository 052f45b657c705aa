"""Detectors of weights that do not move as they should: rounded away, decayed, or vanishing."""

from __future__ import annotations

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading

ROUNDED_CAUSE = "updates rounded away"
DECAY_CAUSE = "weight decay too strong"
VANISHING_CAUSE = "weights vanish"
ROUNDED_LIMITS = limits(ROUNDED_CAUSE)
DECAY_LIMITS = limits(DECAY_CAUSE)


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
    losses = history.losses
    learned_nothing = (
        losses.total >= DECAY_LIMITS["losses"]
        and losses.recent_median > DECAY_LIMITS["level"] * losses.start_median > 0
    )
    least = DECAY_LIMITS["stuck"] if learned_nothing else threshold
    strong = [reading for reading in _matrices(history) if reading.shrink > least]
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


def _find_vanishing(history: History, threshold: float) -> Finding | None:
    peaks = history.readings.peaks
    small = [r for r in _matrices(history) if r.weight_rms < threshold * peaks[r.layer].weight_rms]
    if not small:
        return None
    worst = min(small, key=lambda r: r.weight_rms / peaks[r.layer].weight_rms)
    evidence = (
        f"weights of RMS {worst.weight_rms:.2g}, {peaks[worst.layer].weight_rms:.2g} at step "
        f"{peaks[worst.layer].step}; as small in {len(small)} of {len(_matrices(history))} matrices"
    )
    change = (
        "a tenth of the weight decay, or of the penalty on weights in the loss; with Adam prefer "
        "AdamW's decoupled decay to an L2 penalty"
    )
    return Finding(worst.layer, evidence, change, {})


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
VANISHING_WEIGHTS = Detector(
    cause=VANISHING_CAUSE,
    why="Decay or a penalty outweighs the gradients of the loss; layers without weights pass no signal.",
    find=_find_vanishing,
)

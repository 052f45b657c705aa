"""Detectors of causes in the gradients: non-finite values, and a batch unlike all earlier ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import median

from betaplane.monitor.detectors._statistics import jump
from betaplane.monitor.detectors.detector import STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading

DATA_CHANGE_CAUSE = "sudden data change"
LIMITS = limits(DATA_CHANGE_CAUSE)
MIN_READINGS = 3  # earlier gradient norms that a jump is compared with
CALM_READINGS = 8  # that must not explain the jump
MAX_RATIO = limits("learning rate too large")["ratio"]
TIMES_MEDIAN = 1.5  # the last update over the median, if that is larger than the limit


def _find_non_finite(history: History, threshold: float) -> Finding | None:
    layers = [reading.layer for reading in history.current_readings() if not reading.finite]
    probe = history.probe
    if not layers and probe and probe.passes_nonfinite and not history.gradients.is_finite:
        layers = probe.nonfinite_gradients()
    if len(layers) <= threshold:
        return None
    evidence = f"NaN or infinity in the gradient or the moments of {len(layers)} tensors"
    change = 'skip such steps (nonfinite="skip"), or halve the loss scale'
    return Finding(layers[0], evidence, change, {"nonfinite": "skip"})


def _find_data_change(history: History, threshold: float) -> Finding | None:
    gradients = history.gradients
    whole = gradients.totals and gradients.is_whole
    norms = gradients.totals if whole else history.readings.gradient_norms
    if not _has_risen(norms, LIMITS["each_jump"]):
        return None
    norm = jump(norms, history.step, MIN_READINGS)
    loss = jump(history.losses, history.step)
    small = sqrt(norm.ratio * loss.ratio) <= threshold
    if small or min(norm.ratio, loss.ratio) < LIMITS["each_jump"]:
        return None
    if min(norm.deviations, loss.deviations) < LIMITS["each_deviation"]:
        return None
    if norm.deviations + loss.deviations < LIMITS["both_deviations"] or not _was_calm(history):
        return None
    jumps = f"gradient norm {norm.ratio:.1f} x and loss {loss.ratio:.1f} x their largest of late"
    usual_norm = float(f"{_earlier_median(norms):.3g}")
    change = (
        f"inspect batch {history.step} and skip it; the optimizer is not the cause. "
        f"Or clip to the usual norm, {usual_norm:.3g}"
    )
    return Finding(
        "",
        f"{jumps}, before any step was taken on it",
        change,
        {"skip": history.step, "max_norm": usual_norm},
    )


def _has_risen(series: Sequence[tuple[int, float]], factor: float) -> bool:
    """Whether the last value is above all earlier ones by a factor."""
    if len(series) <= MIN_READINGS:
        return False
    *earlier, last = [value for _, value in series]
    return last > factor * max(earlier) or not math.isfinite(max(earlier))


def _was_calm(history: History) -> bool:
    """Whether earlier steps were too small to be the cause, and lr was not raised meanwhile."""
    if not history.readings:
        return False  # the size of earlier steps is unknown
    earlier = [
        [reading for reading in readings if reading.step < history.step][-CALM_READINGS:]
        for readings in history.readings.values()
    ]
    ratios = (
        reading.ratio for readings in earlier for reading in readings if len(reading.shape) > 1
    )
    return (
        max(ratios, default=0.0) < MAX_RATIO
        and all(_is_usual_update(readings) for readings in earlier if readings)
        and not history.readings.lr_raised(CALM_READINGS)
        and not history.gradients.lr_raised
    )


def _is_usual_update(readings: list[Reading]) -> bool:
    """Whether the last update is no larger than steady gradients make it, or than it often is.

    With beta1 = 0 every update has an RMS of about 1.
    """
    usual = TIMES_MEDIAN * median(reading.update_rms for reading in readings)
    return readings[-1].update_rms <= LIMITS["update"] * max(1.0, usual)


def _earlier_median(series: Iterable[tuple[int, float]]) -> float:
    """The median of all values but the last, the lower of two."""
    *earlier, _ = [value for _, value in series]
    return sorted(earlier)[(len(earlier) - 1) // 2]


NON_FINITE_GRADIENTS = Detector(
    cause="non-finite gradients",
    why="One such gradient enters both moments and never leaves them.",
    find=_find_non_finite,
    when=STEP,
)
DATA_CHANGE = Detector(
    cause=DATA_CHANGE_CAUSE,
    why="The loss and all gradients jumped together before a step was taken on them: the batch differs, not the "
    "optimizer.",
    find=_find_data_change,
    when=STEP,
)

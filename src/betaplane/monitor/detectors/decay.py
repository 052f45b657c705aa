"""Detector of weight norm drift: at the end of a schedule weight decay outweighs the learning rate."""

from __future__ import annotations

import math

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import Reading

CAUSE = "weight norm drift"
LIMITS = limits(CAUSE)


def _find_drift(history: History, threshold: float) -> Finding | None:
    growth = {
        reading.layer: _growth(history, reading)
        for reading in history.current_readings()
        if len(reading.shape) > 1
    }
    layer = max(growth, key=growth.__getitem__, default=None)
    if layer is None or growth[layer] <= threshold:
        return None
    last, peak = history.readings[layer][-1], history.readings.peaks[layer]
    size = f"weights at {last.weight_rms / peak.weight_rms:.2f} of their size at the peak lr {peak.lr:.3g}"
    evidence = f"{size}, gradients over weights {growth[layer]:.1f} x their least"
    change = f"weight decay times lr / {peak.lr:.3g}, the peak, as AdamC does"
    return Finding(layer, evidence, change, {"decay": "corrected", "peak_lr": peak.lr})


def _growth(history: History, reading: Reading) -> float:
    """Gradient over weight, relative to its least; 0 if decay is not the cause."""
    least = history.readings.min_gradient_over_weight.get(reading.layer)
    peak = history.readings.peaks[reading.layer]
    if least is None or not _has_shrunk(reading, peak) or not _decay_explains(reading, peak):
        return 0.0
    return history.readings.gradient_over_weight(reading.layer) / least


def _has_shrunk(reading: Reading, peak: Reading) -> bool:
    """Whether lr has fallen, and the weights with it."""
    return (
        reading.lr <= LIMITS["lr"] * peak.lr
        and reading.weight_rms <= LIMITS["weights"] * peak.weight_rms
    )


def _decay_explains(reading: Reading, peak: Reading) -> bool:
    """Whether decay is large enough to shrink the weights, and does not already fall with lr."""
    decayed = (reading.step - peak.step) * (reading.shrink + peak.shrink) / 2
    shrunk = math.log(max(peak.weight_rms, TINY) / max(reading.weight_rms, TINY))
    corrected = peak.shrink * reading.lr**2  # as in AdamC, times the square of the peak lr
    return (
        decayed >= LIMITS["explained"] * shrunk
        and reading.shrink * peak.lr**2 >= LIMITS["corrected"] * corrected
    )


WEIGHT_NORM_DRIFT = Detector(
    cause=CAUSE,
    why="Decay shrinks the weights as lr falls, so the gradients of normalized layers grow, and so does the "
    "rotation per step.",
    find=_find_drift,
)

"""Causes in weight decay: at the end of a schedule it outruns the learning rate, and weights
shrink.
"""

from __future__ import annotations

import math

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import Reading

LATE_PART = 0.5  # of the peak learning rate: from there on the schedule is coming down
EXPLAINED = 0.5  # of the logarithm by which weights shrank: by decay alone
# times the decay of AdamC, up to which it falls with lr as its remedy would have it
CORRECTED = 1.1
SHRUNK = 0.8  # of the weights at the peak


def _drifting(history: History, threshold: float) -> Finding | None:
    found = {now.layer: _growth(history, now) for now in history.now() if len(now.shape) > 1}
    layer = max(found, key=found.__getitem__, default=None)
    if layer is None or found[layer] <= threshold:
        return None
    now, peak = history.readings[layer][-1], history.peaks[layer]
    told = f"weights at {now.weight_rms / peak.weight_rms:.2f} of their size at the peak lr {peak.lr:.3g}"
    change = f"weight decay times lr / {peak.lr:.3g}, the peak, as AdamC does"
    remedy = {"decay": "corrected", "peak_lr": peak.lr}
    return Finding(
        layer, f"{told}, gradients over weights {found[layer]:.1f} x their least", change, remedy
    )


def _growth(history: History, now: Reading) -> float:
    """How much gradient over weight has grown from its least.

    0 where lr has not come down or weights not shrunk, or where decay is too small to be why, or already falls with lr.
    """
    peak = history.peaks[now.layer]
    decayed = (now.step - peak.step) * (now.shrink + peak.shrink) / 2
    if decayed < EXPLAINED * math.log(max(peak.weight_rms, TINY) / max(now.weight_rms, TINY)):
        return 0.0
    if now.shrink * peak.lr**2 < CORRECTED * peak.shrink * now.lr**2:
        return 0.0
    if (
        now.layer not in history.calmest
        or now.lr > LATE_PART * peak.lr
        or now.weight_rms > SHRUNK * peak.weight_rms
    ):
        return 0.0
    return history.relative(now.layer) / history.calmest[now.layer]


DRIFTING = Detector(
    "weight norm drift",
    "Decay shrinks the weights as lr falls, so gradients of normalised layers, and the turn of each step, grow.",
    2.0,
    "times the least gradient over weights, medians of 8 readings, at half of the peak lr or less, with weights below "
    "0.8 of their size there; the steady ratio is sqrt(2 weight_decay / lr)",
    "A. Defazio, 2025, arXiv:2506.02285",
    _drifting,
)

"""Detector of a changed optimizer state: moments that do not follow from those of the last step."""

from __future__ import annotations

import math

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import update_bound

CAUSE = "optimizer state changed"
LIMITS = limits(CAUSE)
EXACT_DTYPES = ("float32", "float64")  # whose rounding cannot explain a deviation
CHANGE = (
    "load moments and step count of the same step, or start without them: optimizer.state.clear()"
)


def last_two_readings(history: History, readings: list[Reading]) -> list[tuple[Reading, Reading]]:
    """Each reading of this step with its tensor's reading before it, if there is one."""
    return [
        (history.readings[reading.layer][-2], reading)
        for reading in readings
        if len(history.readings[reading.layer]) > 1
    ]


def _find_change(history: History, threshold: float) -> Finding | None:
    readings = [reading for reading in history.current_readings() if reading.g_rms > 0]
    for old, new in last_two_readings(history, readings):
        left = v_left(old, new)
        if left < threshold or left > 1 / threshold:
            return Finding(new.layer, _v_evidence(old, new, left), CHANGE, {})
    for reading in readings:
        excess = _over_bound(history, reading)
        if excess > LIMITS["bound"]:
            evidence = (
                f"the largest update is {excess:.3g} times what any gradients can make at these "
                "betas and this count"
            )
            return Finding(reading.layer, evidence, CHANGE, {})
    return None


def _v_evidence(old: Reading, new: Reading, left: float) -> str:
    evidence = f"v was {left:.3g} times what it was at step {old.step}"
    between = new.step - 1 - old.step
    if between:
        evidence += f", {between} steps before"
    evidence += ", with every step counted"
    return evidence if left > 1 else f"{evidence}; beta2 lets it fall no further than to 1"


def v_left(old: Reading, new: Reading) -> float:
    """V before a step, over the least that beta2 leaves of it since an older reading.

    The result is 1 if v may follow from the older one. v may only be larger than the least if steps
    were taken in between.
    """
    every_step_counted = new.t - old.t == new.step - old.step and old.t >= 1
    if not every_step_counted or new.dtype not in EXACT_DTYPES or math.isnan(new.kept_rms):
        return 1.0
    between = new.step - 1 - old.step
    least = min(old.beta2, new.beta2) ** between * old.root_rms**2 * (1 - old.beta2**old.t)
    if not 0 < least < math.inf or not math.isfinite(new.kept_rms):
        return 1.0
    left = new.kept_rms**2 / least
    return left if left < 1 or between == 0 else 1.0


def _over_bound(history: History, reading: Reading) -> float:
    """The largest update over Adam's bound; 0 if the optimizer is not known to keep the bound."""
    readings = history.readings[reading.layer]
    past = readings.column("reach")[:-1].tolist()
    if len(past) < LIMITS["readings"] or max(past) > 1 or reading.dtype not in EXACT_DTYPES:
        return 0.0
    if (readings[-2].beta1, readings[-2].beta2) != (reading.beta1, reading.beta2):
        return 0.0
    bound = float(update_bound(reading.beta1, reading.beta2, max(reading.t, 1.0)))
    return min(reading.reach, reading.update_max / bound)


STATE_CHANGED = Detector(
    cause=CAUSE,
    why="Moments that do not come from the previous steps scale updates wrongly until they have decayed.",
    find=_find_change,
)

"""Detectors of causes in the second moment: stale, too noisy, coupled betas, underflow, eps."""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

from betaplane.monitor.detectors._statistics import (
    descent_cosine,
    deviations,
    jump,
    root_variation,
)
from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import memory_horizon

STALE_CAUSE = "stale second moment"
NOISY_CAUSE = "second moment too noisy"
LEAST_USUAL_BETA2 = 0.99  # a beta1 of it or more is rare, and a common beta2
COUPLED_CAUSE = "beta1^2 >= beta2"
UNDERFLOW_CAUSE = "second moment underflow"
EPS_CAUSE = "eps dominates"
STALE_LIMITS = limits(STALE_CAUSE)
EPS_ROUNDING = limits(EPS_CAUSE)["rounding"]
UNDERFLOW_ZERO = limits(UNDERFLOW_CAUSE)["zero"]
NOISY_HORIZONS = limits(NOISY_CAUSE)["horizons"]

MEDIAN_READINGS = 3  # whose median ignores a single batch
CALM_READINGS = 8  # without a raised lr; also averaged for small tensors
MIN_ELEMENTS = 64  # of a tensor whose mean square needs no average over readings
CHECK_EVERY = 16  # steps between replays of a full record
MIN_STEPS_OF_MEMORY = 10.0  # proposed; at (0.9, 0.95) no history makes an update above 1.17 lr


class _TensorHistory(NamedTuple):
    """The last reading of a tensor, and quantities of all its readings, oldest first."""

    last: Reading
    lags: list[float]
    # without readings that were taken because of a large loss, when gradients are often large too
    scheduled_lags: list[float]
    updates: list[float]

    @property
    def lag(self) -> float:
        """The median of the last three RMS_t, which ignores a single batch."""
        return median(self.lags[-MEDIAN_READINGS:])

    @property
    def usual_update(self) -> float:
        """The median RMS of an update, units of lr."""
        return median(self.updates)

    @property
    def update(self) -> float:
        """The RMS of the last updates, over more readings for small tensors, which fluctuate."""
        small = math.prod(self.last.shape) < MIN_ELEMENTS
        last = self.updates[-CALM_READINGS if small else -MEDIAN_READINGS :]
        return math.sqrt(sum(size * size for size in last) / len(last))


def _find_stale(history: History, threshold: float) -> Finding | None:
    if history.readings.lr_raised(CALM_READINGS):
        return None
    tensors = _tensors_with_small_updates(history)
    lasting = [
        layer
        for layer, tensor in tensors.items()
        if tensor.update > STALE_LIMITS["update"] and tensor.lag > threshold
    ]
    if lasting:
        layer = max(lasting, key=lambda layer: tensors[layer].lag)
        tensor = tensors[layer]
        evidence = f"update RMS {tensor.update:.2f} lr, RMS_t {tensor.lag:.1f}"
        return _propose_shorter_memory(tensor.last, evidence)
    grown = _grown_tensors(history, tensors, threshold)
    if 2 * len(grown) <= len(history.current_readings()):
        return None
    layer = max(grown, key=lambda layer: tensors[layer].last.lag)
    last, usual = tensors[layer].last, tensors[layer].usual_update
    factor = last.update_rms / usual
    evidence = (
        f"update RMS {last.update_rms:.2f} lr, {factor:.1f} x its usual size, RMS_t {last.lag:.1f}"
    )
    return _propose_shorter_memory(last, evidence)


def _tensors_with_small_updates(history: History) -> dict[str, _TensorHistory]:
    """The tensors with enough readings whose learning rate is not to blame."""
    tensors = {
        reading.layer: _tensor_history(history, reading)
        for reading in history.current_readings()
        if reading.ratio < STALE_LIMITS["ratio"] * max(1.0, reading.update_rms)
    }
    return {
        layer: tensor for layer, tensor in tensors.items() if len(tensor.lags) >= MEDIAN_READINGS
    }


def _tensor_history(history: History, reading: Reading) -> _TensorHistory:
    lags, updates, steps = (
        history.readings[reading.layer].column(name).tolist()
        for name in ("lag", "update_rms", "step")
    )
    off_schedule = history.readings.off_schedule
    scheduled = [lag for lag, step in zip(lags, steps, strict=True) if step not in off_schedule]
    return _TensorHistory(reading, lags, scheduled, updates)


def _grown_tensors(
    history: History, tensors: dict[str, _TensorHistory], threshold: float
) -> list[str]:
    """The tensors with updates of twice their usual size and a lag."""
    larger = [
        layer
        for layer, tensor in tensors.items()
        if tensor.last.update_rms > 2 * tensor.usual_update
    ]
    if not larger:
        return []
    unusual_batch = jump(history.losses, history.step).deviations > STALE_LIMITS["unusual_loss"]
    return [
        layer
        for layer in larger
        if _lags(tensors[layer].scheduled_lags, threshold, one_is_enough=not unusual_batch)
    ]


def _lags(lags: list[float], threshold: float, one_is_enough: bool) -> bool:
    """Whether v lagged at the last two readings, or at the last one more than ever before."""
    if len(lags) < MEDIAN_READINGS:
        return False
    *earlier, last = lags
    if min(last, earlier[-1]) > STALE_LIMITS["two_readings"] * threshold:
        return True
    if not one_is_enough or len(earlier) < STALE_LIMITS["readings"]:
        return False
    if last <= max(STALE_LIMITS["one_reading"] * threshold, *earlier):
        return False
    positive = [max(lag, TINY) for lag in earlier]
    return deviations(last, positive) > STALE_LIMITS["deviation"]


def _propose_shorter_memory(reading: Reading, evidence: str) -> Finding:
    """Propose a memory of v twice that of m, at least 10 steps."""
    steps = max(MIN_STEPS_OF_MEMORY, 2 * float(memory_horizon(reading.beta1)))
    beta2 = round(min(reading.beta2, 1 - 1 / steps), 6)
    change = f"beta2={beta2:.6g}, or updates clipped at RMS 1 (clip=1.0)"
    return Finding(reading.layer, evidence, change, {"beta2": beta2})


def _find_noisy(history: History, threshold: float) -> Finding | None:
    if history.step % CHECK_EVERY:
        return None
    for layer, recorded in history.full_recordings():
        steps, beta2 = len(recorded.g), recorded.values.beta2
        if NOISY_HORIZONS / (1 - beta2) > steps:
            continue
        variation = root_variation(recorded)
        if variation > threshold and (cosine := descent_cosine(recorded)) < 0:
            longer = round(max(1 - (1 - beta2) / 10, 1 - 1 / steps), 6)
            evidence = (
                f"sqrt(v) varies by {variation:.2f} of itself; "
                f"cosine of mean update and mean gradient {cosine:.2f}"
            )
            change = (
                f"beta2={longer:.6g}: ten times the memory, and at least {steps} steps; "
                "or a larger batch"
            )
            return Finding(layer, evidence, change, {"beta2": longer})
    return None


def _find_coupled(history: History, threshold: float) -> Finding | None:
    for reading in history.current_readings():
        difference = reading.beta1**2 - reading.beta2
        if reading.beta1 > 0 and difference >= threshold - 1e-9:  # exact up to rounding
            evidence = f"beta1^2 = {reading.beta1**2:.4g} >= beta2 = {reading.beta2:.4g}"
            return Finding("", evidence, *_valid_betas(reading.beta1, reading.beta2))
    return None


def _valid_betas(beta1: float, beta2: float) -> tuple[str, dict[str, float]]:
    """Valid betas as text and as data; exchanged ones if beta1 is as large as beta2 usually is."""
    if beta1 >= LEAST_USUAL_BETA2 and beta2**2 < beta1:
        change = f"betas=({beta2:.4g}, {beta1:.4g}); they seem to be exchanged"
        return change, {"beta1": beta2, "beta2": beta1}
    least = max(0.95, beta1)
    return f"beta2={least:.4g}, or beta1 < {beta2**0.5:.4g}", {"beta2": least}


def _find_underflow(history: History, threshold: float) -> Finding | None:
    for reading in history.current_readings():
        wide = reading.dtype in ("float32", "float64")
        measurable = not wide and math.prod(reading.shape) >= MIN_ELEMENTS
        unchanged = reading.still if measurable else 0.0
        if reading.lost > UNDERFLOW_ZERO * threshold or unchanged > threshold:
            evidence = (
                f"{reading.lost:.0%} of v are 0 although the gradient is not, "
                f"{unchanged:.0%} do not change in {reading.dtype}"
            )
            change = 'the state in float32 (storage="float32"), or with stochastic rounding'
            return Finding(reading.layer, evidence, change, {"storage": "float32"})
    return None


def _find_eps(history: History, threshold: float) -> Finding | None:
    readings = history.current_readings()
    rounding = EPS_ROUNDING * max((reading.g_rms for reading in readings), default=0.0)
    dominated = [
        reading
        for reading in readings
        if reading.t > 1
        and reading.below_eps > threshold
        and (len(reading.shape) > 1 or reading.g_rms > rounding)
    ]
    if not dominated:
        return None
    worst = max(dominated, key=lambda reading: reading.below_eps)
    size = worst.root_median or worst.root_rms or worst.eps
    eps = float(f"{size / 100:.1g}")
    evidence = (
        f"{worst.below_eps:.0%} of sqrt(v_hat) are below eps = {worst.eps:.2g}; "
        f"they are about {size:.2g}"
    )
    return Finding(worst.layer, evidence, f"eps={eps:.1g}, a hundredth of that", {"eps": eps})


STALE_SECOND_MOMENT = Detector(
    cause=STALE_CAUSE,
    why="Gradients grew faster than v could follow, so updates outgrow their usual size.",
    find=_find_stale,
)
NOISY_SECOND_MOMENT = Detector(
    cause=NOISY_CAUSE,
    why="v follows single batches, and the mean update no longer descends along the mean gradient.",
    find=_find_noisy,
)
COUPLED_BETAS = Detector(
    cause=COUPLED_CAUSE,
    why="m decays more slowly than sqrt(v), so the update grows without bound after gradients vanish.",
    find=_find_coupled,
)
SECOND_MOMENT_UNDERFLOW = Detector(
    cause=UNDERFLOW_CAUSE,
    why="v is 0 or does not change although gradients are not 0, so the update is divided by eps or by an old v.",
    find=_find_underflow,
)
EPS_DOMINATES = Detector(
    cause=EPS_CAUSE,
    why="Below eps Adam is SGD with learning rate lr / eps: small gradients are no longer scaled up.",
    find=_find_eps,
)

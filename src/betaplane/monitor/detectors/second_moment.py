"""Causes in the second moment: stale, too noisy, forgotten before the first moment, lost in its type, below eps."""

from __future__ import annotations

import math

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.history import History, descent, unsteadiness
from betaplane.monitor.reading import Reading
from betaplane.theory import memory_horizon

LAG = 2.3  # RMS_t that spikes follow within 8 steps
LAST = 8  # readings
MANY = 64  # coordinates whose mean square needs no mean over time
LARGE = 0.3  # update over weight, from where on the learning rate is to blame


def _stale(history: History, threshold: float) -> Finding | None:
    sizes = {now.layer: _size([*history.readings[now.layer]]) for now in history.now() if now.ratio < LARGE}
    lags = {layer: max(old.lag for old in [*history.readings[layer]][-LAST:]) for layer in sizes}
    layer = max((each for each in sizes if lags[each] > LAG), key=sizes.__getitem__, default=None)
    if layer is None or not sizes[layer] > threshold:
        return None
    beta1, beta2 = history.readings[layer][-1].beta1, history.readings[layer][-1].beta2
    shorter = round(_shorter(beta1, beta2), 6)
    change = f"beta2={shorter:.6g}, or updates clipped at RMS 1 (clip=1.0)"
    return Finding(layer, f"update RMS {sizes[layer]:.2f} lr, RMS_t {lags[layer]:.1f}", change, {"beta2": shorter})


def _size(readings: list[Reading]) -> float:
    """The RMS of the update; of a few coordinates, over the last readings too, for one alone may swing."""
    last = readings[-LAST:] if math.prod(readings[-1].shape) < MANY else readings[-1:]
    return math.sqrt(sum(reading.update_rms**2 for reading in last) / len(last))


def _shorter(beta1: float, beta2: float) -> float:
    """Twice the memory of m, and no less than 10 steps: at (0.9, 0.95) no history makes an update above 1.17 lr."""
    return min(beta2, 1 - 1 / max(10.0, 2 * float(memory_horizon(beta1))))


def _noisy(history: History, threshold: float) -> Finding | None:
    if history.step % 16:  # a replay of 64 steps: not at every one
        return None
    for layer, past in history.pasts():
        spread = unsteadiness(past)
        if spread > threshold and (cosine := descent(past)) < 0:
            longer = round(1 - (1 - past.numbers.beta2) / 10, 6)
            evidence = f"sqrt(v) varies by {spread:.2f} of itself; cosine of mean update and mean gradient"
            change = f"beta2={longer:.6g}: ten times the memory, or a batch ten times as large"
            return Finding(layer, f"{evidence} {cosine:.2f}", change, {"beta2": longer})
    return None


def _coupled(history: History, threshold: float) -> Finding | None:
    for reading in history.now():
        if reading.beta1 > 0 and reading.beta1**2 - reading.beta2 >= threshold:
            evidence = f"beta1^2 = {reading.beta1**2:.4g} >= beta2 = {reading.beta2:.4g}"
            beta2 = max(0.95, reading.beta1)
            change = f"beta2={beta2:.4g}, or beta1 < {reading.beta2**0.5:.4g}"
            return Finding("", evidence, change, {"beta2": beta2})
    return None


def _underflow(history: History, threshold: float) -> Finding | None:
    for reading in history.now():
        still = 0.0 if reading.dtype in ("float32", "float64") else reading.still
        if max(reading.lost, still) > threshold:
            told = (
                f"{reading.lost:.0%} of v are 0 where the gradient is not, {still:.0%} stand still in {reading.dtype}"
            )
            change = 'the state in float32 (storage="float32"), or rounded at random'
            return Finding(reading.layer, told, change, {"storage": "float32"})
    return None


def _eps(history: History, threshold: float) -> Finding | None:
    found = [reading for reading in history.now() if reading.t > 1 and reading.below_eps > threshold]
    if not found:
        return None
    worst: Reading = max(found, key=lambda reading: reading.below_eps)
    told = (
        f"{worst.below_eps:.0%} of sqrt(v_hat) are below eps = {worst.eps:.2g}; their median is {worst.root_median:.2g}"
    )
    eps = float(f"{worst.root_median / 100:.1g}")
    return Finding(worst.layer, told, f"eps={eps:.1g}, a hundredth of the median", {"eps": eps})


STALE = Detector(
    "stale second moment",
    "Gradients grew faster than v could follow, so updates are larger than lr.",
    1.25,
    "RMS of the update in units of lr: independent gradients of one size give at most 1, whatever their noise; and "
    "RMS_t above 2.3 within 8 readings, as published",
    "M. Wortsman et al., 2023, arXiv:2304.13013; N. Shazeer, M. Stern, 2018, arXiv:1804.04235",
    _stale,
)
NOISY = Detector(
    "second moment too noisy",
    "v follows single batches, and the mean update no longer goes down the mean gradient.",
    0.5,
    "coefficient of variation of sqrt(v) in time: half its size; and a negative cosine of mean update and mean "
    "gradient, which noise alone does not give",
    "Y. Zhang et al., 2022, arXiv:2208.09632",
    _noisy,
)
COUPLED = Detector(
    "beta1^2 >= beta2",
    "m outlives v: after gradients vanish the update grows without bound.",
    0.0,
    "beta1^2 - beta2: the update has a bound exactly where it is negative",
    "S. Reddi et al., 2018, arXiv:1904.09237; Y. Zhang et al., 2022, arXiv:2208.09632",
    _coupled,
)
UNDERFLOW = Detector(
    "second moment lost in its type",
    "v is 0 or stands still where gradients are not 0, so the update is divided by eps or by an old v.",
    0.25,
    "share of a tensor's coordinates: a quarter",
    "arithmetic of the formats; P. Micikevicius et al., 2018, arXiv:1710.03740",
    _underflow,
)
EPS = Detector(
    "eps dominates",
    "Below eps Adam is SGD with learning rate lr / eps: small gradients are no longer scaled up.",
    0.5,
    "share of a tensor's coordinates that have a gradient: half",
    "M. Wortsman et al., 2023, arXiv:2309.14322",
    _eps,
)

"""Causes in the second moment: stale, too noisy, forgotten before the first moment, lost in its
type, below eps.
"""

from __future__ import annotations

import math
from statistics import median
from typing import NamedTuple

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.history import History, descent, deviations, jump, unsteadiness
from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import memory_horizon

LAST = 8  # readings
LATEST = 3  # readings: what one batch did is not in their median
MANY = 64  # coordinates whose mean square needs no mean over time
LARGE = 0.3  # update over weight, from where on the learning rate is to blame
ONCE, TWICE = 0.4, 0.5  # of the threshold, at one reading or at two, where most tensors pass it
OTHER = 6.0  # deviations of the loss's logarithm, from where on a batch is unlike all before it
BEYOND = 3.0  # deviations of the lag's logarithm: of batches of 4 few have so many
ENOUGH = 32  # readings that say what is usual: at the start gradients may grow
# RMS of an update in units of lr: of gradients of one size only steady ones have more
LARGEST = 0.8
ROUNDING = 1e-4  # of the largest gradient RMS: what float32 leaves of a vector's gradient that is 0
FEW = 0.2  # of the threshold, of v that are 0 where the gradient is not
HALF = 0.6  # from where on no warmup is


class _Kept(NamedTuple):
    """What is kept of a tensor: the last reading, and of all of them, oldest first."""

    now: Reading
    lags: list[float]
    # of them those that were not chosen for a large loss, whose gradients often are large too
    fair: list[float]
    updates: list[float]

    @property
    def lag(self) -> float:
        """The median of the latest RMS_t: what one batch did is not in it."""
        return median(self.lags[-LATEST:])

    @property
    def usual(self) -> float:
        """The usual size of an update, units of lr."""
        return median(self.updates)

    @property
    def size(self) -> float:
        """The RMS of the latest updates; of a few coordinates over more of them, for one alone may
        swing.
        """
        last = self.updates[-LAST:] if math.prod(self.now.shape) < MANY else self.updates[-LATEST:]
        return math.sqrt(sum(size * size for size in last) / len(last))


def _stale(history: History, threshold: float) -> Finding | None:
    if history.raised(LAST):
        return None
    kept = {now.layer: _kept(history, now) for now in history.now() if _small(now)}
    kept = {layer: each for layer, each in kept.items() if len(each.lags) >= LATEST}
    lasting = [
        layer for layer, each in kept.items() if each.size > LARGEST and each.lag > threshold
    ]
    larger = [layer for layer, each in kept.items() if each.now.update_rms > 2 * each.usual]
    other = bool(larger) and jump(history.losses, history.step).deviations > OTHER
    grown = [layer for layer in larger if _lagged(kept[layer].fair, threshold, alone=not other)]
    if lasting:
        layer = max(lasting, key=lambda layer: kept[layer].lag)
        told = f"update RMS {kept[layer].size:.2f} lr, RMS_t {kept[layer].lag:.1f}"
    elif 2 * len(grown) > len(history.now()):
        layer = max(grown, key=lambda layer: kept[layer].now.lag)
        now, usual = kept[layer].now, kept[layer].usual
        told = f"update RMS {now.update_rms:.2f} lr, {now.update_rms / usual:.1f} x its usual size, RMS_t {now.lag:.1f}"
    else:
        return None
    shorter = round(_shorter(kept[layer].now.beta1, kept[layer].now.beta2), 6)
    change = f"beta2={shorter:.6g}, or updates clipped at RMS 1 (clip=1.0)"
    return Finding(layer, told, change, {"beta2": shorter})


def _kept(history: History, now: Reading) -> _Kept:
    lags, updates, steps = (
        history.readings[now.layer].column(name).tolist() for name in ("lag", "update_rms", "step")
    )
    fair = [lag for lag, step in zip(lags, steps, strict=True) if step not in history.chosen]
    return _Kept(now, lags, fair, updates)


def _small(now: Reading) -> bool:
    """Whether an update of RMS 1 would be small beside the weights: else the learning rate is to
    blame.
    """
    return now.ratio < LARGE * max(1.0, now.update_rms)


def _lagged(lags: list[float], threshold: float, alone: bool) -> bool:
    """Whether v lagged at the last two readings, or at the last alone as never of late and beyond
    their scatter.
    """
    if len(lags) < LATEST:
        return False
    *old, now = lags
    if alone and len(old) >= ENOUGH and now > max(ONCE * threshold, *old):
        return (
            deviations(now, [max(lag, TINY) for lag in old]) > BEYOND
            or min(now, old[-1]) > TWICE * threshold
        )
    return min(now, old[-1]) > TWICE * threshold


def _shorter(beta1: float, beta2: float) -> float:
    """Twice the memory of m, and no less than 10 steps: at (0.9, 0.95) no history makes an update
    above 1.17 lr.
    """
    return min(beta2, 1 - 1 / max(10.0, 2 * float(memory_horizon(beta1))))


def _noisy(history: History, threshold: float) -> Finding | None:
    if history.step % 16:  # a replay of 64 steps: not at every one
        return None
    for layer, past in history.pasts():
        spread = unsteadiness(past) if 2 / (1 - past.numbers.beta2) <= len(past.g) else 0.0
        if spread > threshold and (cosine := descent(past)) < 0:
            longer = round(max(1 - (1 - past.numbers.beta2) / 10, 1 - 1 / len(past.g)), 6)
            evidence = (
                f"sqrt(v) varies by {spread:.2f} of itself; cosine of mean update and mean gradient"
            )
            change = f"beta2={longer:.6g}: ten times the memory, and {len(past.g)} steps at least; or a larger batch"
            return Finding(layer, f"{evidence} {cosine:.2f}", change, {"beta2": longer})
    return None


def _coupled(history: History, threshold: float) -> Finding | None:
    for reading in history.now():
        # a bound, and rounding
        if reading.beta1 > 0 and reading.beta1**2 - reading.beta2 >= threshold - 1e-9:
            evidence = f"beta1^2 = {reading.beta1**2:.4g} >= beta2 = {reading.beta2:.4g}"
            beta2 = max(0.95, reading.beta1)
            change = f"beta2={beta2:.4g}, or beta1 < {reading.beta2**0.5:.4g}"
            return Finding("", evidence, change, {"beta2": beta2})
    return None


def _underflow(history: History, threshold: float) -> Finding | None:
    for reading in history.now():
        wide = reading.dtype in ("float32", "float64") or math.prod(reading.shape) < MANY
        still = 0.0 if wide else reading.still
        if reading.lost > FEW * threshold or still > threshold:
            zeros = f"{reading.lost:.0%} of v are 0 where the gradient is not"
            told = f"{zeros}, {still:.0%} stand still in {reading.dtype}"
            change = 'the state in float32 (storage="float32"), or rounded at random'
            return Finding(reading.layer, told, change, {"storage": "float32"})
    return None


def _eps(history: History, threshold: float) -> Finding | None:
    now = history.now()
    floor = ROUNDING * max((reading.g_rms for reading in now), default=0.0)
    real = [reading for reading in now if len(reading.shape) > 1 or reading.g_rms > floor]
    found = [reading for reading in real if reading.t > 1 and reading.below_eps > threshold]
    if not found:
        return None
    worst: Reading = max(found, key=lambda reading: reading.below_eps)
    size = worst.root_median or worst.root_rms or worst.eps
    told = f"{worst.below_eps:.0%} of sqrt(v_hat) are below eps = {worst.eps:.2g}; they are about {size:.2g}"
    eps = float(f"{size / 100:.1g}")
    return Finding(worst.layer, told, f"eps={eps:.1g}, a hundredth of that", {"eps": eps})


STALE = Detector(
    "stale second moment",
    "Gradients grew faster than v could follow, so updates outgrow their usual size.",
    4.5,
    "RMS_t, the median of three readings, published as 2.3 for one: with an RMS of the update above 0.8, where noise "
    "gives 0.23; or, in most tensors and with updates twice their usual size, half of it at two readings, or 0.4 of it "
    "at one, the most of late and beyond its scatter",
    "M. Wortsman et al., 2023, arXiv:2304.13013; N. Shazeer, M. Stern, 2018, arXiv:1804.04235",
    _stale,
)
NOISY = Detector(
    "second moment too noisy",
    "v follows single batches, and the mean update no longer goes down the mean gradient.",
    0.5,
    "coefficient of variation of sqrt(v) in time, in both halves of 64 steps: half its size; v's memory at most 32 "
    "steps; and a negative cosine of mean update and mean gradient, which noise alone does not give",
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
    "share of a tensor's coordinates that stand still, of 64 at least: a quarter; a fifth of it are 0, which in "
    "float32 none are",
    "arithmetic of the formats; P. Micikevicius et al., 2018, arXiv:1710.03740",
    _underflow,
)
EPS = Detector(
    "eps dominates",
    "Below eps Adam is SGD with learning rate lr / eps: small gradients are no longer scaled up.",
    0.5,
    "share of a tensor's coordinates that have a gradient: half; vectors whose gradient is rounding, as that of a bias "
    "before a normalisation, are left out",
    "M. Wortsman et al., 2023, arXiv:2309.14322",
    _eps,
)

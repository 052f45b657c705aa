"""Causes in the optimizer's state: moments that were changed between two steps, or do not belong
together.
"""

from __future__ import annotations

import math

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import update_bound

FEWEST = 3  # readings before, that say whether updates keep Adam's bound
PAST = 1.05  # times Adam's bound: beyond rounding
WIDE = ("float32", "float64")  # types whose rounding explains nothing here
CHANGE = (
    "load moments and count of one and the same step, or begin with none: optimizer.state.clear()"
)


def _changed(history: History, threshold: float) -> Finding | None:
    now = [reading for reading in history.now() if reading.g_rms > 0]
    pairs = [
        (history.readings[each.layer][-2], each)
        for each in now
        if len(history.readings[each.layer]) > 1
    ]
    for old, each in pairs:
        left = v_left(old, each)
        if left < threshold or left > 1 / threshold:
            since = each.step - 1 - old.step
            told = f"v was {left:.3g} times what it was at step {old.step}" + (
                f", {since} steps before" if since else ""
            )
            least = "" if left > 1 else "; beta2 lets it fall no further than to 1"
            return Finding(each.layer, f"{told}, with every step counted{least}", CHANGE, {})
    for each in now:
        if (times := _beyond(history, each)) > PAST:
            told = f"the largest update is {times:.3g} times what any gradients can make at these betas and this count"
            return Finding(each.layer, told, CHANGE, {})
    return None


def v_left(old: Reading, now: Reading) -> float:
    """What there was of v before a step, over the least that beta2 leaves of it since an older
    reading; 1 if it fits.

    More than the least is only wrong if no step was taken in between.
    """
    if (
        now.t - old.t != now.step - old.step
        or old.t < 1
        or now.dtype not in WIDE
        or math.isnan(now.kept_rms)
    ):
        return 1.0
    since = now.step - 1 - old.step
    least = min(old.beta2, now.beta2) ** since * old.root_rms**2 * (1 - old.beta2**old.t)
    if not 0 < least < math.inf or not math.isfinite(now.kept_rms):
        return 1.0
    left = now.kept_rms**2 / least
    return left if left < 1 or since == 0 else 1.0


def _beyond(history: History, now: Reading) -> float:
    """The largest update over Adam's bound; 0 if it never was under it, or betas change, so that it
    is not Adam's.
    """
    kept = history.readings[now.layer]
    past = kept.column("reach")[:-1].tolist()
    steady = (
        len(past) >= FEWEST
        and max(past) <= 1
        and (kept[-2].beta1, kept[-2].beta2) == (now.beta1, now.beta2)
    )
    if not steady or now.dtype not in WIDE:
        return 0.0
    return min(
        now.reach, now.update_max / float(update_bound(now.beta1, now.beta2, max(now.t, 1.0)))
    )


CHANGED_STATE = Detector(
    "optimizer state changed",
    "Moments that are not those of the steps before scale updates wrongly until they are forgotten.",
    0.8,
    "times what beta2 leaves of v: exact arithmetic leaves no less, and if no step lies between, no more either; and "
    "Adam's bound on an update, which no gradients pass",
    "D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1",
    _changed,
)

"""Causes in the count of steps: counted wrongly after a resume; at full speed before v has its
memory.
"""

from __future__ import annotations

import math
from statistics import median

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.second_moment import HALF
from betaplane.monitor.detectors.state import v_left
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import linear_warmup_steps

TENTH = 0.1  # update over weight, below which a warmup would change little
FALLEN = 0.7  # of the loss at the start: training had begun
STUCK = 0.8  # of the loss at the start, where it still is after WAITED steps
WAITED = 32  # steps
AGAIN = 0.2  # of v at most that steps between two readings gather, where it is told that v was kept
LOAD = "load the moments with the count, or set state['step'] to 0"
WRONG = 1.5  # v_hat is off by at least this factor, if the count is wrong
MISFIT = 0.25  # nearer to 1/2 than to 0
NEARER = 0.4  # of that factor, in logarithms: v is rather the one that was kept
ROUNDING = 0.02  # of the same where no step lies between: v is the very one
LESS = 0.9  # of the threshold, where the loss is stuck


def _miscounted(history: History, threshold: float) -> Finding | None:
    now = [reading for reading in history.now() if reading.g_rms > 0]
    reset = [reading for reading in now if reading.before <= threshold and reading.warm]
    lost = [reading for reading in now if reading.before > threshold and not reading.warm]
    if reset:
        told = f"the count was {reset[0].before:.0f} while v was not 0: v_hat is too large by 1 / (1 - beta2)"
        count = _count(history, reset[0])
        return Finding(
            reset[0].layer,
            told,
            f"state['step'] = {count} before this step, or as saved",
            {"step": count},
        )
    if lost and len(lost) == len(now):
        told = f"the count was {lost[0].before:.0f} while every v was 0: nothing corrects them"
        return Finding("", told, LOAD, {"step": 0})
    return _since(history, now)


def _since(history: History, now: list[Reading]) -> Finding | None:
    """What befell moments and counts between two readings."""
    pairs = [
        (history.readings[each.layer][-2], each)
        for each in now
        if len(history.readings[each.layer]) > 1
    ]
    emptied = [each for old, each in pairs if _emptied(old, each)]
    if emptied and len(emptied) == len(now):
        told = f"v fell faster than beta2 lets it while the count went on to {emptied[0].t:.0f}: nothing corrects it"
        return Finding("", told, LOAD, {"step": 0})
    restarted = [(old, each) for old, each in pairs if _restarted(old, each)]
    if restarted:
        old, each = restarted[0]
        fell = f"the count fell from {old.t:.0f} to {each.t:.0f} while v was kept"
        told = f"{fell}: v_hat is too large by 1 / (1 - beta2)"
        count = _count(history, each)
        return Finding(
            each.layer,
            told,
            f"state['step'] = {count} before this step, or as saved",
            {"step": count},
        )
    jumped = [(old, each) for old, each in pairs if _off(old, each) and _kept_with(old, each)]
    if jumped and median(_misfit(old, each) for old, each in jumped) > MISFIT:
        old, each = jumped[0]
        count = _count(history, each)
        by = _weight(each.beta2, count) / _weight(each.beta2, each.before)
        told = (
            f"the count is {each.before:.0f} where {old.t:.0f} steps and {each.step - 1 - old.step} more were taken, "
            f"and v was kept: v_hat is too {'small' if by < 1 else 'large'} by a factor {max(by, 1 / by):.3g}"
        )
        layer = "" if len(jumped) == len(now) else each.layer
        return Finding(
            layer, told, f"state['step'] = {count} before this step, or as saved", {"step": count}
        )
    return None


def _weight(beta2: float, t: float) -> float:
    """What the weights of v sum to after so many steps."""
    return -math.expm1(t * math.log(beta2)) if beta2 > 0 else 1.0


def _off(old: Reading, now: Reading) -> float:
    """The factor, in logarithms, by which a count that left the steps taken puts v_hat off; 0 if it
    hardly matters.

    A count that stands still has not left them: a parameter without a gradient takes no step.
    """
    count = old.t + now.step - 1 - old.step
    if (
        not (now.before > count or now.before < old.t)
        or old.t < 1
        or now.before < 1
        or old.beta2 != now.beta2
    ):
        return 0.0
    off = math.log(_weight(now.beta2, now.before) / _weight(now.beta2, count))
    return off if abs(off) > math.log(WRONG) else 0.0


def _kept_with(old: Reading, now: Reading) -> bool:
    """Whether v is the one before, with the gradients since then, and not one that was loaded with
    its count.
    """
    exact = not math.isnan(now.kept_rms)
    left = now.beta2 ** (now.step - old.step - exact)
    kept = left * old.root_rms**2 * _weight(old.beta2, old.t) + (1 - left) * now.g_rms**2
    there = now.kept_rms**2 if exact else now.root_rms**2 * _weight(now.beta2, now.t)
    near = ROUNDING if exact and now.step - old.step == 1 else NEARER * abs(_off(old, now))
    return min(kept, there) > 0 and abs(math.log(there / kept)) < near


def _misfit(old: Reading, now: Reading) -> float:
    """How gradients left v_hat, over the factor by which the count puts it off: 1/2 if that is all,
    0 if they fit.
    """
    return math.log(now.lag / old.lag) / _off(old, now) if min(old.lag, now.lag) > 0 else 0.0


def _emptied(old: Reading, now: Reading) -> bool:
    """Whether v is less than half of what beta2 leaves of it, with every step since the last
    reading counted.
    """
    counted = old.t > 0 and now.t - old.t == now.step - old.step
    wide = now.dtype in ("float32", "float64")
    return counted and wide and min(_kept(old, now), v_left(old, now)) < 0.5


def _restarted(old: Reading, now: Reading) -> bool:
    """Whether the count began again although v did not, in steps too few to gather it anew."""
    steps = now.step - old.step
    return (
        0 < now.t <= steps
        and now.t < old.t
        and 1 - now.beta2**steps < AGAIN
        and 0.98 <= _kept(old, now) < math.inf
    )


def _kept(old: Reading, now: Reading) -> float:
    """What there is of v over what beta2 must have left of it since an older reading; 1 or more
    where it is Adam's.
    """
    before, after = 1 - old.beta2**old.t, 1 - now.beta2**now.t
    left = (
        min(old.beta2, now.beta2) ** (now.step - old.step)
        * old.root_rms**2
        * before
        * min(1.0, before / after)
    )
    return now.root_rms**2 * after / left if left > 0 else math.inf


def _rushed(history: History, threshold: float) -> Finding | None:
    now = history.now()
    if not now or not history.climbed > LESS * threshold or history.recent == math.inf:
        return None
    first = now[0]
    stuck = first.t >= WAITED and history.late > STUCK * history.start and not history.falling
    if not stuck and history.climbed <= threshold:
        return None
    length = float(linear_warmup_steps(first.beta2))
    lr = max(reading.lr for reading in now)
    early = (
        all(reading.lr >= 0.99 * lr for reading in history.readings[first.layer])
        and first.t < length
    )
    seen = [
        reading for kept in history.readings.values() for reading in kept if len(reading.shape) > 1
    ]
    steep = max((reading.ratio for reading in seen), default=0.0)
    fallen = history.least < FALLEN * history.start
    if not early or fallen or not TENTH < steep < HALF:
        return None
    growth = f"{history.recent / history.start:.1f} x its start"
    told = f"loss {history.recent:.3g}, {growth}, at full lr from the first step"
    change = f"warm lr up linearly over {length:.0f} steps, 2 / (1 - beta2)"
    return Finding("", told, change, {"warmup": round(length)})


def _count(history: History, now: Reading) -> int:
    """What the optimizer should have counted: on from what was read before, else what makes the
    correction small.
    """
    old = [reading for reading in history.readings[now.layer] if reading.step < now.step]
    return round(old[-1].t + now.step - 1 - old[-1].step if old else 1 / (1 - now.beta2))


MISCOUNTED = Detector(
    "step count wrong",
    "Adam's bias correction divides by a count that is not that of its moments.",
    0,
    "steps counted: exact, since v is 0 before the first step and not after; between readings half of what beta2 must "
    "leave of v, or a correction off by 1.5",
    "D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1",
    _miscounted,
)
RUSHED = Detector(
    "warmup too short",
    "Updates are at their largest, and of one direction, before v has its memory.",
    1.05,
    "times the loss at the start beyond 2.5 deviations of its scatter, or 0.9 of it where after 32 steps the loss is "
    "above 0.8 of its start; within 2 / (1 - beta2) steps, before it ever fell to 0.7 of the start, and with updates "
    "between 0.1 and 0.6 of the weights",
    "J. Ma, D. Yarats, 2021, arXiv:1910.04209",
    _rushed,
)

"""Causes in the count of steps: counted wrongly after a resume; at full speed before v has its memory."""

from __future__ import annotations

import math

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.second_moment import HALF
from betaplane.monitor.history import History
from betaplane.monitor.reading import Reading
from betaplane.theory import linear_warmup_steps

TENTH = 0.1  # update over weight, below which a warmup would change little
FALLEN = 0.7  # of the loss at the start: training had begun
STUCK = 0.8  # of the loss at the start, where it still is after WAITED steps
WAITED = 32  # steps
LESS = 0.9  # of the threshold, where the loss is stuck


def _miscounted(history: History, threshold: float) -> Finding | None:
    now = [reading for reading in history.now() if reading.g_rms > 0]
    reset = [reading for reading in now if reading.before <= threshold and reading.warm]
    lost = [reading for reading in now if reading.before > threshold and not reading.warm]
    if reset:
        told = f"the count was {reset[0].before:.0f} while v was not 0: v_hat is too large by 1 / (1 - beta2)"
        count = _count(history, reset[0])
        return Finding(reset[0].layer, told, f"state['step'] = {count} before this step, or as saved", {"step": count})
    if lost and len(lost) == len(now):
        told = f"the count was {lost[0].before:.0f} while every v was 0: nothing corrects them"
        return Finding("", told, "load the moments with the count, or set state['step'] to 0", {"step": 0})
    return None


def _rushed(history: History, threshold: float) -> Finding | None:
    now = history.now()
    if not now or not history.climbed > LESS * threshold or history.recent == math.inf:
        return None
    first = now[0]
    stuck = first.t >= WAITED and history.late > STUCK * history.start
    if not stuck and history.climbed <= threshold:
        return None
    length = float(linear_warmup_steps(first.beta2))
    lr = max(reading.lr for reading in now)
    early = all(reading.lr >= 0.99 * lr for reading in history.readings[first.layer]) and first.t < length
    seen = [reading for kept in history.readings.values() for reading in kept if len(reading.shape) > 1]
    steep = max((reading.ratio for reading in seen), default=0.0)
    fallen = history.least < FALLEN * history.start
    if not early or fallen or not TENTH < steep < HALF:
        return None
    told = (
        f"loss {history.recent:.3g}, {history.recent / history.start:.1f} x its start, at full lr from the first step"
    )
    change = f"warm lr up linearly over {length:.0f} steps, 2 / (1 - beta2)"
    return Finding("", told, change, {"warmup": round(length)})


def _count(history: History, now: Reading) -> int:
    """What the optimizer should have counted: on from what was read before, else what makes the correction small."""
    old = [reading for reading in history.readings[now.layer] if reading.step < now.step]
    return round(old[-1].t + now.step - 1 - old[-1].step if old else 1 / (1 - now.beta2))


MISCOUNTED = Detector(
    "step count wrong",
    "Adam's bias correction divides by a count that is not that of its moments.",
    0,
    "steps counted: exact, since v is 0 before the first step and not after",
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

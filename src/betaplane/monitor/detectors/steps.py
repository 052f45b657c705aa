"""Detectors of causes in the step count: wrong after a resume, or a warmup that is too short."""

from __future__ import annotations

import math
from statistics import median

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.state import EXACT_DTYPES, last_two_readings, v_left
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import linear_warmup_steps

COUNT_CAUSE = "step count wrong"
WARMUP_CAUSE = "warmup too short"
COUNT_LIMITS = limits(COUNT_CAUSE)
WARMUP_LIMITS = limits(WARMUP_CAUSE)
MIN_V_KEPT = 0.98  # of what beta2 leaves of v, in which case v has not restarted; rounding below
FULL_LR = 0.99  # of the present lr; from it on there was no warmup
RESTART = "load the moments with the count, or set state['step'] to 0"


def _find_wrong_count(history: History, threshold: float) -> Finding | None:
    readings = [reading for reading in history.current_readings() if reading.g_rms > 0]
    reset = [reading for reading in readings if reading.before <= threshold and reading.warm]
    cold = [reading for reading in readings if reading.before > threshold and not reading.warm]
    if reset:
        evidence = f"the count was {reset[0].before:.0f} while v was not 0"
        return _correct_count(
            history, reset[0], f"{evidence}: v_hat is too large by 1 / (1 - beta2)"
        )
    if cold and len(cold) == len(readings):
        evidence = f"the count was {cold[0].before:.0f} while every v was 0: nothing corrects them"
        return Finding("", evidence, RESTART, {"step": 0})
    return _find_between_readings(history, readings)


def _find_between_readings(history: History, readings: list[Reading]) -> Finding | None:
    """What happened to moments and counts between two readings."""
    pairs = last_two_readings(history, readings)
    emptied = [new for old, new in pairs if _v_emptied(old, new)]
    if emptied and len(emptied) == len(readings):
        evidence = (
            "v fell faster than beta2 allows while the count continued to "
            f"{emptied[0].t:.0f}: nothing corrects it"
        )
        return Finding("", evidence, RESTART, {"step": 0})
    for old, new in pairs:
        if _count_restarted(old, new):
            evidence = (
                f"the count fell from {old.t:.0f} to {new.t:.0f} while v was kept: "
                "v_hat is too large by 1 / (1 - beta2)"
            )
            return _correct_count(history, new, evidence)
    return _find_jump(history, readings, pairs)


def _find_jump(
    history: History, readings: list[Reading], pairs: list[tuple[Reading, Reading]]
) -> Finding | None:
    """A count that changed by other than the number of steps, although v was kept."""
    jumped = [(old, new) for old, new in pairs if _log_factor(old, new) and _v_kept(old, new)]
    if not jumped or median(_misfit(old, new) for old, new in jumped) <= COUNT_LIMITS["misfit"]:
        return None
    old, new = jumped[0]
    count = _expected_count(history, new)
    factor = _total_weight(new.beta2, count) / _total_weight(new.beta2, new.before)
    direction = "small" if factor < 1 else "large"
    evidence = (
        f"the count is {new.before:.0f} after {old.t:.0f} steps and {new.step - 1 - old.step} more, "
        f"and v was kept: v_hat is too {direction} by a factor {max(factor, 1 / factor):.3g}"
    )
    layer = "" if len(jumped) == len(readings) else new.layer
    return _correct_count(history, new, evidence)._replace(layer=layer)


def _correct_count(history: History, reading: Reading, evidence: str) -> Finding:
    count = _expected_count(history, reading)
    change = f"state['step'] = {count} before this step, or as saved"
    return Finding(reading.layer, evidence, change, {"step": count})


def _expected_count(history: History, reading: Reading) -> int:
    """The count before this step: from earlier readings, else one with a small correction."""
    earlier = [old for old in history.readings[reading.layer] if old.step < reading.step]
    if not earlier:
        return round(1 / (1 - reading.beta2))
    return round(earlier[-1].t + reading.step - 1 - earlier[-1].step)


def _total_weight(beta2: float, t: float) -> float:
    """The sum of v's weights after t steps, 1 - beta2^t."""
    return -math.expm1(t * math.log(beta2)) if beta2 > 0 else 1.0


def _log_factor(old: Reading, new: Reading) -> float:
    """Log of the factor by which a wrong count changes v_hat; 0 if it hardly matters.

    A count that does not change is not wrong: a parameter without a gradient takes no step.
    """
    count = old.t + new.step - 1 - old.step
    wrong = new.before > count or new.before < old.t
    if not wrong or old.t < 1 or new.before < 1 or old.beta2 != new.beta2:
        return 0.0
    factor = math.log(_total_weight(new.beta2, new.before) / _total_weight(new.beta2, count))
    return factor if abs(factor) > math.log(COUNT_LIMITS["factor"]) else 0.0


def _v_kept(old: Reading, new: Reading) -> bool:
    """Whether v is the old one plus the gradients since then, and was not loaded with its count."""
    measured = not math.isnan(new.kept_rms)  # v was measured before the step, not only after it
    left = new.beta2 ** (new.step - old.step - measured)
    expected = left * old.root_rms**2 * _total_weight(old.beta2, old.t)
    expected += (1 - left) * new.g_rms**2
    actual = new.root_rms**2 * _total_weight(new.beta2, new.t)
    if measured:
        actual = new.kept_rms**2
    if measured and new.step - old.step == 1:
        tolerance = COUNT_LIMITS["same_v_next_step"]
    else:
        tolerance = COUNT_LIMITS["same_v"] * abs(_log_factor(old, new))
    return min(expected, actual) > 0 and abs(math.log(actual / expected)) < tolerance


def _misfit(old: Reading, new: Reading) -> float:
    """Log change of RMS_t over the log factor of the count: 1/2 if the count explains it, else 0."""
    if min(old.lag, new.lag) <= 0:
        return 0.0
    return math.log(new.lag / old.lag) / _log_factor(old, new)


def _v_emptied(old: Reading, new: Reading) -> bool:
    """Whether v is less than half of what beta2 leaves of it, although every step was counted."""
    every_step_counted = old.t > 0 and new.t - old.t == new.step - old.step
    if not every_step_counted or new.dtype not in EXACT_DTYPES:
        return False
    return min(_v_over_least(old, new), v_left(old, new)) < COUNT_LIMITS["emptied"]


def _count_restarted(old: Reading, new: Reading) -> bool:
    """Whether the count restarted but v did not, within too few steps to accumulate v again."""
    steps = new.step - old.step
    restarted = 0 < new.t <= steps and new.t < old.t
    few_steps = 1 - new.beta2**steps < COUNT_LIMITS["gathered"]
    return restarted and few_steps and MIN_V_KEPT <= _v_over_least(old, new) < math.inf


def _v_over_least(old: Reading, new: Reading) -> float:
    """V over the least that beta2 leaves of it since an older reading; at least 1 for Adam."""
    before, after = 1 - old.beta2**old.t, 1 - new.beta2**new.t
    decay = min(old.beta2, new.beta2) ** (new.step - old.step)
    least = decay * old.root_rms**2 * before * min(1.0, before / after)
    return new.root_rms**2 * after / least if least > 0 else math.inf


def _find_short_warmup(history: History, threshold: float) -> Finding | None:
    readings, losses = history.current_readings(), history.losses
    climb = losses.climb
    if not readings or not climb > WARMUP_LIMITS["stuck_climb"] * threshold:
        return None
    if losses.recent_level == math.inf:
        return None
    first = readings[0]
    if climb <= threshold and not _is_stuck(history, first.t):
        return None
    length = float(linear_warmup_steps(first.beta2))
    if first.t >= length or not _full_lr_from_start(history, first):
        return None
    if losses.min_median < WARMUP_LIMITS["fallen"] * losses.start:
        return None  # the run had started to learn
    if not WARMUP_LIMITS["min_ratio"] < _largest_ratio(history) < WARMUP_LIMITS["max_ratio"]:
        return None
    growth = f"{losses.recent_level / losses.start:.1f} x its start"
    evidence = f"loss {losses.recent_level:.3g}, {growth}, at full lr from the first step"
    change = f"warm up lr linearly over {length:.0f} steps, 2 / (1 - beta2)"
    return Finding("", evidence, change, {"warmup": round(length)})


def _is_stuck(history: History, t: float) -> bool:
    """Whether the loss is still where it began."""
    losses = history.losses
    high = losses.recent_median > WARMUP_LIMITS["stuck"] * losses.start
    return t >= WARMUP_LIMITS["stuck_steps"] and high and not losses.falling


def _full_lr_from_start(history: History, last: Reading) -> bool:
    """Whether no earlier learning rate of a tensor was below the present one."""
    return all(reading.lr >= FULL_LR * last.lr for reading in history.readings[last.layer])


def _largest_ratio(history: History) -> float:
    """The largest update over weights of any matrix."""
    ratios = (
        reading.ratio
        for readings in history.readings.values()
        for reading in readings
        if len(reading.shape) > 1
    )
    return max(ratios, default=0.0)


WRONG_STEP_COUNT = Detector(
    cause=COUNT_CAUSE,
    why="Adam's bias correction divides by a count that does not belong to its moments.",
    find=_find_wrong_count,
)
SHORT_WARMUP = Detector(
    cause=WARMUP_CAUSE,
    why="Updates are largest, and all in one direction, before v has averaged over its memory.",
    find=_find_short_warmup,
)

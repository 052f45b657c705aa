"""Detectors of learning rates that a schedule sets too low or too high."""

from __future__ import annotations

import math

from betaplane.monitor.detectors.detector import LOSS, STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History

ENDED_CAUSE = "learning rate near zero"
RAISED_CAUSE = "learning rate raised too far"
ENDED_LIMITS = limits(ENDED_CAUSE)
RAISED_LIMITS = limits(RAISED_CAUSE)
CHECK_EVERY = 16  # losses


def _find_ended(history: History, threshold: float) -> Finding | None:
    lrs, step, watched = history.gradients.lrs, history.step, history.watched
    if watched < ENDED_LIMITS["steps"] or math.isnan(lrs.last):
        return None
    low_from = max(lrs.last_step_above(threshold * lrs.peak), history.start) + 1
    if step - low_from < ENDED_LIMITS["share"] * watched:
        return None
    evidence = f"lr {lrs.last:.2g} since step {low_from} of {step}, {lrs.peak:.2g} at its peak"
    change = (
        "give the scheduler the number of times that you call its step(), per batch or per epoch"
    )
    return Finding("", evidence, change, {"lr": lrs.peak} if lrs.peak else {})


def _find_raised(history: History, threshold: float) -> Finding | None:
    losses, lrs = history.losses, history.gradients.lrs
    number = int(RAISED_LIMITS["losses"])
    if losses.total < 2 * number or losses.total % CHECK_EVERY or losses.nonfinite:
        return None
    best_lr = lrs.at(losses.best_step)
    if not lrs.last >= threshold * best_lr > 0:
        return None
    recent, best = sorted(losses.values[-number:]), losses.min_median
    low = recent[number // 4]  # three of four recent losses are above
    scatter = max(best, 0.0) * min(losses.scatter, 1.0)
    lost = RAISED_LIMITS["lost"] * (losses.start_median - best)
    if low - best < max(lost, RAISED_LIMITS["scatters"] * scatter) or low <= best:
        return None
    evidence = (
        f"median loss {losses.recent_median:.4g} at lr {lrs.last:.2g}, and {best:.4g} near step "
        f"{losses.best_step} at lr {best_lr:.2g}"
    )
    change = f"lr={best_lr:.2g}, at which the loss was lowest, and no higher"
    return Finding("", evidence, change, {"lr": best_lr})


ENDED_SCHEDULE = Detector(
    cause=ENDED_CAUSE,
    why="The schedule ended long before the run did: nothing is learned anymore.",
    find=_find_ended,
    when=STEP,
)
RAISED_LR = Detector(
    cause=RAISED_CAUSE,
    why="At the raised learning rate the run unlearns most of what it had learned.",
    find=_find_raised,
    when=LOSS,
)

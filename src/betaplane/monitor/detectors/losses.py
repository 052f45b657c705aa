"""Detectors of causes that the losses show by themselves, without a reading of the optimizer."""

from __future__ import annotations

import math

from betaplane.monitor.detectors._statistics import Shift, lasting_shift
from betaplane.monitor.detectors.detector import LOSS, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History

SKIPPED_CAUSE = "optimizer steps skipped"
STUCK_CAUSE = "loss does not fall"
RISE_CAUSE = "sudden rise of the loss"
DRIFT_CAUSE = "loss diverges"
SKIPPED_LIMITS = limits(SKIPPED_CAUSE)
STUCK_LIMITS = limits(STUCK_CAUSE)
RISE_LIMITS = limits(RISE_CAUSE)
CHECK_EVERY = 16  # losses
RETRY_EVERY = 8  # losses without a step
CALM_READINGS = 8  # without a raised lr


def _find_non_finite(history: History, threshold: float) -> Finding | None:
    losses = history.losses
    if losses.nonfinite <= threshold or math.isfinite(losses[-1][1]):
        return None
    step, loss = losses[-1]
    weights = history.probe.nonfinite_weights() if history.probe else []
    if weights:
        evidence = f"loss {loss} at step {step}; NaN or infinity in {_count(weights)} before it"
        change = f"go back to weights from before step {step}, and find the update that broke them"
        return Finding(weights[0], evidence, change, {})
    evidence = f"loss {loss} at step {step}, computed from finite weights"
    change = (
        "look for 0 / 0, log(0), sqrt(0) or an overflow in the loss, the model or this batch; "
        "torch.autograd.set_detect_anomaly(True) names the operation"
    )
    return Finding("", evidence, change, {"skip": step})


def _find_skipped(history: History, threshold: float) -> Finding | None:
    waiting = history.waiting_losses
    usual = max(history.losses_per_step, 1)
    least = threshold + (SKIPPED_LIMITS["usual"] * usual if history.watched else 0)
    if waiting < least or waiting % RETRY_EVERY:
        return None
    broken = history.probe.nonfinite_gradients() if history.probe else []
    if not history.watched and waiting < SKIPPED_LIMITS["first"] and not broken:
        return None
    evidence = f"{waiting} losses since step {history.step}, the last one the optimizer took"
    change = "call the optimizer's step after each backward"
    if broken:
        evidence += f"; NaN or infinity in the gradients of {_count(broken)}"
        change = (
            "use bfloat16 in place of float16, or a smaller loss scale: a scaler skips such steps"
        )
    return Finding(broken[0] if broken else "", evidence, change, {})


def _find_stuck(history: History, threshold: float) -> Finding | None:
    losses = history.losses
    if losses.total < STUCK_LIMITS["losses"] or losses.total % CHECK_EVERY or losses.nonfinite:
        return None
    if history.resumed or losses.first <= 0:
        return None
    start, level = losses.start_median, losses.recent_median
    if not level > threshold * start:
        return None
    scatter = losses.scatter
    band = 1 - threshold + STUCK_LIMITS["scatters"] * min(scatter, STUCK_LIMITS["scatter"])
    if level > (1 + band) * start or losses.min_median < (1 - band) * start:
        return None
    if scatter > STUCK_LIMITS["scatter"] or losses.falling:
        return None
    evidence = f"median loss {level:.4g} after {losses.total} losses, {start:.4g} at the start"
    return _why_stuck(history, evidence)


def _why_stuck(history: History, evidence: str) -> Finding:
    """The cause, suggested by the last readings, of a loss that does not fall."""
    matrices = [rs for rs in history.readings.values() if rs and len(rs[-1].shape) > 1]
    ratio = max((float(rs.column("ratio").max()) for rs in matrices), default=math.nan)
    lr = max((rs[-1].lr for rs in matrices), default=math.nan)
    if ratio > STUCK_LIMITS["large_ratio"]:
        evidence += f"; updates of {ratio:.2g} of the weights"
        lr = float(f"{lr * STUCK_LIMITS['target_ratio'] / ratio:.1g}")
        return Finding("", evidence, f"lr={lr:.1g}: single updates are too large", {"lr": lr})
    moved = ratio * history.losses.total
    if 0 < moved < STUCK_LIMITS["moved"]:
        evidence += f"; all updates together are at most {moved:.1g} of the weights"
        lr = float(f"{lr * STUCK_LIMITS['raised_ratio'] / ratio:.1g}")
        return Finding("", evidence, f"lr={lr:.1g}: updates are too small", {"lr": lr})
    change = (
        "check that inputs and targets belong together and are scaled, that the loss depends on the "
        "trained parameters, and try lr / 10"
    )
    return Finding("", evidence, change, {})


def _find_rise(history: History, threshold: float) -> Finding | None:
    shift = _lasting_rise(history, threshold)
    if shift is None or not shift.is_sudden:
        return None
    evidence = (
        f"median loss {shift.after:.4g} since step {shift.step}, {shift.before:.4g} before, "
        "from one step to the next"
    )
    change = (
        f"compare data, labels, model mode and weights before and after step {shift.step}: one step "
        "of usual size does not do this"
    )
    return Finding("", evidence, change, {})


def _find_drift(history: History, threshold: float) -> Finding | None:
    losses = history.losses
    if losses.total < RISE_LIMITS["start"] or losses.total % CHECK_EVERY or losses.lowest <= 0:
        return None  # the value of a surrogate loss, which may be negative, means little
    shift = _lasting_rise(history, threshold)
    if shift is not None and shift.is_sudden:
        return None
    if shift is None and (losses.rise.shift is not None or not _is_above_start(history)):
        return None
    if losses.falling:
        return None
    lr = max((reading.lr for reading in history.readings.latest()), default=math.nan)
    evidence = f"median loss {losses.recent_median:.4g}, {losses.start_median:.4g} at the start"
    if shift is not None:
        evidence = f"median loss {shift.after:.4g}, {shift.before:.4g} before step {shift.step}"
    if math.isnan(lr):
        return Finding("", evidence, "a third of the learning rate", {})
    return Finding("", evidence, f"lr={lr / 3:.2g}, a third of it", {"lr": lr / 3})


def _is_above_start(history: History) -> bool:
    """Whether recent losses are above the first ones by more than their scatter."""
    losses = history.losses
    if losses.nonfinite or history.gradients.lr_raised:
        return False
    start = losses.start_median
    rise = losses.recent_median - start
    if rise <= (RISE_LIMITS["start_factor"] - 1) * abs(start):
        return False
    return rise > RISE_LIMITS["scatters"] * abs(start) * min(losses.scatter, 1.0)


def _lasting_rise(history: History, factor: float) -> Shift | None:
    """A rise of the loss that was found earlier, if the loss has stayed above half of it since.

    A bump, such as of a harder part of the data, ends before. It is looked for every 16 losses.
    """
    losses, rise = history.losses, history.losses.rise
    if losses.total % CHECK_EVERY:
        return None
    if rise.checked_at != losses.total:
        rise.checked_at = losses.total
        newest = _rise(history, factor)
        if rise.shift is None:
            rise.found_at = losses.total
        rise.shift = newest or rise.shift  # the more losses after it, the clearer its step
        if rise.shift and losses.recent_median < (rise.shift.before + rise.shift.after) / 2:
            rise.shift = None
    lasts = losses.total - rise.found_at >= RISE_LIMITS["lasting"]
    return rise.shift if lasts else None


def _rise(history: History, factor: float) -> Shift | None:
    """A rise of the loss that neither its scatter nor a raised lr explains."""
    losses = history.losses
    half = (1 + factor) / 2
    if losses.nonfinite or 0 < losses.recent_median <= half * losses.min_median:
        return None
    if history.readings.lr_raised(CALM_READINGS) or history.gradients.lr_raised:
        return None
    shift = lasting_shift(losses)
    if shift is None or not shift.deviations > RISE_LIMITS["deviations"]:
        return None
    rise, fallen = shift.after - shift.before, losses.first - losses.min_median
    rises = rise > max((factor - 1) * abs(shift.before), RISE_LIMITS["undone"] * fallen)
    return shift if rises else None


def _count(layers: list[str]) -> str:
    return f"{len(layers)} tensors" if len(layers) > 1 else layers[0] or "one tensor"


NON_FINITE_LOSS = Detector(
    cause="non-finite loss",
    why="Its gradient is NaN in every parameter that it reaches.",
    find=_find_non_finite,
    when=LOSS,
)
SKIPPED_STEPS = Detector(
    cause=SKIPPED_CAUSE,
    why="Losses arrive, but the weights no longer change.",
    find=_find_skipped,
    when=LOSS,
)
STUCK_LOSS = Detector(
    cause=STUCK_CAUSE,
    why="The loss is where it began: the model predicts no better than before training.",
    find=_find_stuck,
    when=LOSS,
)
SUDDEN_RISE = Detector(
    cause=RISE_CAUSE,
    why="A lasting jump between two steps comes from outside of the optimizer.",
    find=_find_rise,
    when=LOSS,
)
SLOW_RISE = Detector(
    cause=DRIFT_CAUSE,
    why="The run unlearns what it had learned.",
    find=_find_drift,
    when=LOSS,
)

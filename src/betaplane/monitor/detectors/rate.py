"""Detectors of causes in the learning rate: too large for the weights, or for the curvature."""

from __future__ import annotations

from itertools import islice, pairwise

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import GradientCorrelation, History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import stability_threshold

TOO_LARGE_CAUSE = "learning rate too large"
EDGE_CAUSE = "adaptive edge of stability"
TOO_LARGE_LIMITS = limits(TOO_LARGE_CAUSE)
EDGE_LIMITS = limits(EDGE_CAUSE)
RAISED_WITHIN_READINGS = 8
TARGET_RATIO = 0.01  # of an update over the weights, for the proposed lr
MAX_GROWTH = 1e12  # gradients that grew more come from another cause
STABLE_BETA1 = 0.9  # proposed if beta1 is smaller


def _find_too_large(history: History, threshold: float) -> Finding | None:
    losses = history.losses
    factor = TOO_LARGE_LIMITS["loss"]
    after_raise = losses.recent_level > factor * losses.earlier_median > 0
    after_raise = after_raise and history.readings.lr_raised(RAISED_WITHIN_READINGS)
    if not after_raise and not losses.has_risen(factor):
        return None
    ratio, reading = _largest_update(history)
    if reading is None or ratio < threshold:
        return None
    earlier = f"at the start {losses.start:.3g}"
    if after_raise:
        earlier = f"before lr was raised {losses.earlier_median:.3g}"
    evidence = f"an update of {ratio:.2f} of the weights; loss {losses.recent_level:.3g}, {earlier}"
    lr = float(f"{reading.lr * TARGET_RATIO / ratio:.1g}")
    change = f"lr={lr:.1g}, so that an update is 1% of the weights"
    return Finding(reading.layer, evidence, change, {"lr": lr})


def _largest_update(history: History) -> tuple[float, Reading | None]:
    """The largest update over weights of all matrices, and its reading."""
    updates = [
        (_update_over_weights(old, new), new)
        for layer, readings in _matrices(history).items()
        for old, new in pairwise([readings[0], *readings])
    ]
    return max(updates, key=lambda update: update[0], default=(0.0, None))


def _matrices(history: History) -> dict[str, list[Reading]]:
    """The readings of every matrix; only the last one if it was 0 before the first step.

    The first weights of such a matrix are single updates, so nothing learned is lost.
    """
    matrices = {
        layer: [*readings]
        for layer, readings in history.readings.items()
        if readings and len(readings[-1].shape) > 1
    }
    for layer in history.readings.zero_at_start & matrices.keys():
        matrices[layer] = matrices[layer][-1:]
    return matrices


def _update_over_weights(old: Reading, new: Reading) -> float:
    """An update over the weights; over the earlier ones if they grew with a raised lr."""
    if new.lr <= 2 * old.lr or not 0 < old.weight_rms < new.weight_rms:
        return new.ratio
    return new.ratio * new.weight_rms / old.weight_rms


def _find_edge(history: History, threshold: float) -> Finding | None:
    steps = EDGE_LIMITS["steps"]
    last = [*islice(reversed(history.correlations), steps)][::-1]
    if len(last) < steps or last[-1].step != history.step or not _are_consecutive(last):
        return None
    correlation = max(step.correlation for step in last)
    smallest = min(step.norm for step in last)
    growth = last[-1].norm / smallest if smallest else 0.0
    if correlation > threshold or not EDGE_LIMITS["growth"] < growth < MAX_GROWTH:
        return None
    reading = max(history.current_readings(), key=lambda reading: reading.lr)
    limit = float(stability_threshold(reading.beta1, reading.lr))
    evidence = (
        f"gradients alternate (lag-1 correlation at most {correlation:.2f}) and grew {growth:.1f} x "
        f"in {steps} steps: curvature above {limit:.3g} in Adam's metric"
    )
    if reading.beta1 < STABLE_BETA1 and reading.beta2 > STABLE_BETA1**2:
        factor = float(stability_threshold(STABLE_BETA1, reading.lr)) / limit
        change = f"beta1={STABLE_BETA1}, which is stable up to {factor:.3g} x the curvature"
        return Finding("", evidence, change, {"beta1": STABLE_BETA1})
    lr = reading.lr / 2
    return Finding("", evidence, f"lr={lr:.3g}, half of it", {"lr": lr})


def _are_consecutive(steps: list[GradientCorrelation]) -> bool:
    return steps[-1].step - steps[0].step == len(steps) - 1


LR_TOO_LARGE = Detector(
    cause=TOO_LARGE_CAUSE,
    why="Single updates are as large as the weights, and the loss is above where it began.",
    find=_find_too_large,
)
EDGE_OF_STABILITY = Detector(
    cause=EDGE_CAUSE,
    why="The steepest direction is past (2 + 2 beta1) / ((1 - beta1) lr): weights oscillate across it with growing "
    "amplitude.",
    find=_find_edge,
)

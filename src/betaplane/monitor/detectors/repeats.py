"""Detectors of what repeats although it should not: the weights, or the data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from betaplane.monitor.detectors.detector import LOSS, STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY

RESTORED_CAUSE = "weights restored repeatedly"
REPEATED_CAUSE = "same data at every step"
REPEATED_LIMITS = limits(REPEATED_CAUSE)
CHECK_EVERY = 16  # losses


def _find_restored(history: History, threshold: float) -> Finding | None:
    returns = history.weights.returns
    if len(returns) <= threshold or history.losses.nonfinite:
        return None
    steps = ", ".join(map(str, returns[-4:]))
    evidence = f"exactly the same weights before steps {steps}, with other weights in between"
    change = "load a checkpoint once, before the loop, and save newer ones in the loop"
    return Finding("", evidence, change, {})


def _find_repeated(history: History, threshold: float) -> Finding | None:
    losses, number = history.losses, int(REPEATED_LIMITS["losses"])
    if losses.total % CHECK_EVERY or losses.total < 2 * number or losses.nonfinite:
        return None
    values = losses.values[-number:]
    if min(values) <= 0:
        return None
    if _falls(losses.starting) > REPEATED_LIMITS["falls_early"]:
        return None  # smooth from the start, as the losses of a full batch
    if _falls(values) < REPEATED_LIMITS["falls"]:
        return None
    early, now = roughness(losses.starting), roughness(values)
    if early < REPEATED_LIMITS["rough"] or now > threshold * early:
        return None
    evidence = (
        f"losses from step to step deviate by {now:.1g} of their level from a smooth curve, and by "
        f"{early:.1g} at the start: the last {number} minibatches seem to be one"
    )
    change = "check that the loop takes a new minibatch from the loader at every step"
    return Finding("", evidence, change, {})


def _falls(values: Sequence[float]) -> float:
    """The share of values that are below the one before."""
    return sum(b < a for a, b in pairwise(values)) / (len(values) - 1)


def roughness(values: Sequence[float]) -> float:
    """How far values are from the middle of their neighbors, relative to their median level.

    Example:
        >>> roughness([1.0, 0.9, 0.8, 0.7]) < 1e-12, roughness([1.0, 2.0, 1.0, 2.0])
        (True, 1.3333333333333333)
    """
    triples = zip(values, values[1:], values[2:], strict=False)
    level = max(median(map(abs, values)), TINY)
    return median(abs(a - 2 * b + c) for a, b, c in triples) / level


RESTORED_WEIGHTS = Detector(
    cause=RESTORED_CAUSE,
    why="Everything learned in between is lost each time.",
    find=_find_restored,
    when=STEP,
)
REPEATED_DATA = Detector(
    cause=REPEATED_CAUSE,
    why="Losses of different minibatches scatter; those of one minibatch follow a smooth curve.",
    find=_find_repeated,
    when=LOSS,
)

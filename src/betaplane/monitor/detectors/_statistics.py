"""Statistics that several detectors compare with their thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from betaplane.monitor.counterfactual import second_moment_roots, updates
from betaplane.monitor.loss_history import Shift, scatter_from
from betaplane.monitor.quantities.formulas import TINY, cosine, variation
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

MIN_VALUES = 16  # from which a standard deviation is taken as measured
MIN_SIDE = 16  # values on each side of a shift
MAX_VALUE = 1e150  # whose squares do not overflow
EDGE_VALUES = 5  # on each side of it, whose medians show whether it was sudden
SUDDEN_SHARE = 0.7  # of a shift, from one value to the next
MIN_SCATTER = 0.4  # standard deviation of the logarithm to assume for fewer values


class Jump(NamedTuple):
    """How far a value is above earlier ones."""

    ratio: float  # over the largest of them
    deviations: float  # distance from their mean, in standard deviations of the logarithm


def jump(series: Iterable[tuple[int, float]], step: int, min_values: int = MIN_VALUES) -> Jump:
    """How far the value of a step is above earlier ones.

    Values that are not finite or not positive are skipped.

    Args:
        series: steps and values, the newest last.
        step: the step.
        min_values: earlier values needed, >= 2; fewer than 16 are assumed to scatter by a factor
            of 1.5 or more.

    Returns:
        The jump; zeros if the step is not the last one, or if there are too few earlier values.
    """
    *earlier, (last_step, last) = [*series] or [(0, 0.0)]
    past = [value for _, value in earlier if 0 < value < math.inf]
    if last_step != step or len(past) < min_values or not 0 < last < math.inf:
        return Jump(0.0, 0.0)
    min_scatter = TINY if len(past) >= MIN_VALUES else MIN_SCATTER
    return Jump(last / max(past), deviations(last, past, min_scatter))


def deviations(value: float, others: Sequence[float], min_scatter: float = TINY) -> float:
    """Distance of log(value) from the mean logarithm of others, in their standard deviations.

    Args:
        value: > 0.
        others: at least two, > 0.
        min_scatter: lower limit of the standard deviation.

    Example:
        >>> round(deviations(8.0, [1.0, 2.0, 4.0]), 6)
        2.0
    """
    logs = [math.log(other) for other in others]
    mean = sum(logs) / len(logs)
    square = sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)
    return (math.log(value) - mean) / max(math.sqrt(square), min_scatter)


def root_variation(recorded: RecordedSteps) -> float:
    """Coefficient of variation of sqrt(v) over the recorded steps, the smaller of two halves.

    A single unusual batch affects only one of them.
    """
    halves = second_moment_roots(recorded).chunk(2)
    return min(variation(half, recorded.values.beta2) for half in halves)


def descent_cosine(recorded: RecordedSteps) -> float:
    """Cosine of the mean update and the mean gradient of the recorded steps; below 0 for ascent."""
    return cosine(updates(recorded, recorded.values).mean(0), recorded.g.mean(0))


def lasting_shift(series: Iterable[tuple[int, float]]) -> Shift | None:
    """The largest change of level in a series of finite values; None if it is too short.

    Args:
        series: steps and values, oldest first; a level lasts for at least 16 values.

    Example:
        >>> series = [(step, 1.0 + 0.1 * (step % 2) + (step > 40)) for step in range(1, 61)]
        >>> shift = lasting_shift(series)
        >>> shift.step, shift.is_sudden, round(shift.after - shift.before, 6)
        (41, True, 1.0)
    """
    steps, values = zip(*series, strict=True) if (series := [*series]) else ((), ())
    n = len(values)
    if n < 2 * MIN_SIDE or max(map(abs, values)) > MAX_VALUE:
        return None
    sums = np.cumsum(values)
    lengths = np.arange(MIN_SIDE, n - MIN_SIDE + 1)
    left, right = sums[lengths - 1], sums[-1] - sums[lengths - 1]
    gaps = np.abs(right / (n - lengths) - left / lengths) * np.sqrt(lengths * (n - lengths))
    k = int(lengths[int(gaps.argmax())])
    before, after = median(values[:k]), median(values[k:])
    distances = [abs(b - a) for i, (a, b) in enumerate(pairwise(values)) if i != k - 1]
    height = (after - before) / max(scatter_from(distances), TINY)
    edge = median(values[k : k + EDGE_VALUES]) - median(values[k - EDGE_VALUES : k])
    sudden = abs(edge) >= SUDDEN_SHARE * abs(after - before)
    return Shift(steps[k], before, after, height, sudden)

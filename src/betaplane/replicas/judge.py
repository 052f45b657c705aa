"""What a run is judged by: its loss, its average regret, the norm of its gradient, or a metric of
held-out data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from betaplane.problems.problem import Problem

Judge = Literal["loss", "regret", "gradient-norm", "validation"]
JUDGES: tuple[Judge, ...] = ("loss", "regret", "gradient-norm", "validation")
NAMES = {
    "loss": "loss",
    "regret": "average loss of the minibatches so far (average regret, up to a constant)",
    "gradient-norm": "smallest norm of the gradient of the full loss, over the points of the curve",
    "validation": "loss or metric of the held-out data",
}
RECORDED: Mapping[str, Literal["minibatch", "full"]] = {
    "regret": "minibatch",
    "gradient-norm": "full",
}


def with_record(problem: Problem, judge: Judge) -> Problem:
    """The problem with the points of its curves recorded as this judge needs them."""
    record = RECORDED.get(judge, problem.record)
    return problem if record == problem.record else problem.with_(record=record)


def known_best(best: float | None, judge: Judge) -> float | None:
    """The lowest possible value: the problem's lowest loss, or 0 for the norm of a gradient; None
    for held-out data.
    """
    if judge == "validation":
        return None
    return 0.0 if judge == "gradient-norm" else best


def curve_of(points: np.ndarray, lengths: Sequence[int], judge: Judge) -> np.ndarray:
    """The curve of a run from the points that were recorded: for the regret, running means.

    Args:
        points: (k,), the mean loss of each window of steps, or the value at its end.
        lengths: steps of each window, at least k.
        judge: what the run is judged by.

    Example:
        >>> curve_of(np.array([4.0, 2.0, 0.0]), [2, 2, 1], "regret").tolist()
        [4.0, 3.0, 2.4000000953674316]
    """
    if judge != "regret":
        return points
    steps = np.asarray(lengths[: len(points)], dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.cumsum(points.astype(np.float64) * steps) / np.cumsum(steps)
        return means.astype(np.float32)


def final_value(curve: np.ndarray, judge: Judge = "loss") -> float:
    """The value by which a run is judged; inf if it is not finite or the curve is empty.

    The loss, or the held-out metric, is the mean of the curve's last tenth: the expected loss of a
    run that ends at a random point of its last tenth. Unlike the median, it counts spikes, so that
    a loss that alternates between 0 and 1000 is not small. The regret is the last point, the norm of the gradient the
    smallest one.

    Example:
        >>> curve = np.array([4.0, 1.0, 2.0])
        >>> [final_value(curve, judge) for judge in JUDGES]
        [2.0, 2.0, 1.0, 2.0]
        >>> final_value(np.array([0.0] * 19 + [1000.0])), final_value(np.array([1.0, np.nan]))
        (500.0, inf)
    """
    values = curve.astype(np.float64)
    tail = values[-max(1, len(values) // 10) :]
    if not len(tail) or not np.isfinite(tail).all():
        return float("inf")
    if judge == "gradient-norm":
        return float(values.min())
    return float(tail[-1] if judge == "regret" else tail.mean())

"""Predict verdicts from a replay, and the smallest beta2 that is good."""

from __future__ import annotations

import math

import numpy as np

from betaplane.errors import expect, unknown
from betaplane.replay.gradients import Gradients
from betaplane.replay.quantities import Replay
from betaplane.replay.replay import replay_gradients

# part of every output of a replay
LIMITS = "A replay predicts failure; it does not predict which of the other settings are good."
NO_GRADIENT = 3  # instead of a verdict
# thresholds of the cost, the same for all problems; evaluated in benchmarks/replay.py
GOOD_BELOW, FAILING_ABOVE = 2.0, 20.0


def predicted(replay: Replay, layer: str | None = None) -> np.ndarray:
    """The class of every cell: 0 cost below 2, 1 cost from 2 to 20, 2 failing, 3 no gradient; int8
    (n1, n2).

    A cell is failing if its cost is above 20 or the mean update points uphill; see
    `quantities.cost`. Only failure is predicted: classes 0 and 1 do not distinguish good from
    degraded settings. A layer without any gradient is in class 3.

    Args:
        replay: the replayed plane.
        layer: use only this layer's coordinates; the whole model by default.

    Raises:
        BadInput: the argument is not a Replay, or the layer is unknown.

    Source: thresholds chosen once on the MLP of the digits at batch 32, then kept for every
        problem.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> predicted(replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0], [0.5, 0.96, 0.999]))
        array([[2, 1, 0]], dtype=int8)
    """
    expect(replay, Replay, "replay", "predicted(replay_gradients(stream))")
    if layer is not None and layer not in replay.layers:
        raise unknown("layer", layer, replay.layers, where="predicted", instead='layer="{}"')
    cost = (replay.whole if layer is None else replay.layers[layer]).cost
    conditions = np.isnan(cost), cost < GOOD_BELOW, cost <= FAILING_ABOVE
    return np.select(conditions, (NO_GRADIENT, 0, 1), 2).astype(np.int8)


def thresholds(replay: Replay, most: float = GOOD_BELOW) -> np.ndarray:
    """For each beta1, the smallest beta2 above which every cost is at most `most`; (n1,).

    Between two cells, log cost is interpolated linearly in log(1 - beta2). The result is nan if
    even the largest beta2 costs more, and 0 if no beta2 does.

    Args:
        replay: the replayed plane.
        most: the largest acceptable cost, > 0; `FAILING_ABOVE` gives the end of the failing region.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> thresholds(replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0, 0.9])).round(2)
        array([0.98, 0.87])
    """
    return np.array([_crossing(row, np.log(1 - replay.beta2), most) for row in replay.whole.cost])


def _crossing(cost: np.ndarray, q: np.ndarray, most: float) -> float:
    over = np.flatnonzero(~(cost <= most))
    if not len(over):
        return 0.0
    last = int(over[-1])
    if last + 1 == len(cost):
        return math.nan
    high, low = cost[last], cost[last + 1]
    share = np.log(most / low) / np.log(high / low) if np.isfinite(high) else 0.5
    return float(1 - np.exp(q[last + 1] + share * (q[last] - q[last + 1])))


def turning_point(stream: Gradients, beta1: float, eps: float = 0.0, points: int = 33) -> float:
    """The largest beta2 at which the mean update turns from downhill to uphill as beta2 falls; nan
    if it never does.

    On the cyclic counterexample it is the exact boundary, `theory.critical_beta2`.

    Args:
        stream: recorded gradients.
        beta1: in [0, 1).
        eps: as in `replay_gradients`.
        points: values of beta2 per pass; there are three passes, each between the two values around
            the turn.

    Source: the sign of E[m / sqrt(v)] . g; Y. Zhang et al., 2022, arXiv:2208.09632.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> from betaplane.theory.boundary import critical_beta2
        >>> found = turning_point(record_problem(counterexample(n=10), steps=10), 0.9)
        >>> round(found, 4), round(critical_beta2(0.9, n=10), 4)
        (0.7747, 0.7747)
    """
    import torch

    low, high = 0.0, 1 - 1e-6
    for _ in range(3):
        beta2 = np.unique(1 - np.geomspace(1 - low, 1 - high, points))
        cosine = replay_gradients(
            stream, [beta1], beta2, eps=eps, dtype=torch.float64
        ).whole.cosine[0]
        uphill = np.flatnonzero(cosine <= 0)
        if not len(uphill) or uphill[-1] + 1 == len(beta2):
            return math.nan
        low, high = float(beta2[uphill[-1]]), float(beta2[uphill[-1] + 1])
    return 1 - math.sqrt((1 - low) * (1 - high))

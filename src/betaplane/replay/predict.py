"""Verdicts before any training: what the replayed update says of every cell, and the smallest beta2
that will do.
"""

from __future__ import annotations

import math

import numpy as np

from betaplane.errors import expect
from betaplane.replay.gradients import Gradients
from betaplane.replay.quantities import Replay
from betaplane.replay.replay import replay_gradients

NO_GRADIENT = 3  # in place of a verdict
# of the cost; one pair for all problems, judged in benchmarks/replay.py
GOOD_BELOW, FAILING_ABOVE = 2.0, 20.0


def predicted(replay: Replay, layer: str | None = None) -> np.ndarray:
    """The verdict of every cell: 0 good, 1 degraded, 2 failing, 3 no gradient; int8 (n1, n2).

    Good is a cost below 2, failing one above 20 or a mean update that points uphill; see `quantities.cost`. A layer
    that no gradient ever reached has no verdict, 3.

    Args:
        replay: the replayed plane.
        layer: only this layer's coordinates; the whole model if left out.

    Source: thresholds chosen once on the digits' MLP at batch 32, then held for every problem.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> predicted(replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0], [0.5, 0.96, 0.999]))
        array([[2, 1, 0]], dtype=int8)
    """
    expect(replay, Replay, "replay", "predicted(replay_gradients(stream))")
    cost = (replay.whole if layer is None else replay.layers[layer]).cost
    conditions = np.isnan(cost), cost < GOOD_BELOW, cost <= FAILING_ABOVE
    return np.select(conditions, (NO_GRADIENT, 0, 1), 2).astype(np.int8)


def thresholds(replay: Replay, most: float = GOOD_BELOW) -> np.ndarray:
    """For each beta1, the beta2 from which on all beta2 have a cost of at most `most`; (n1,).

    Between two cells log cost is taken to be linear in log(1 - beta2). nan where even the largest beta2 costs more; 0
    where every one will do.

    Args:
        replay: the replayed plane.
        most: of the cost, > 0; `FAILING_ABOVE` gives where failing ends.

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
        eps: as `replay_gradients`.
        points: of beta2 a pass; three passes, each between the two points around the turn.

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

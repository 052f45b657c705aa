"""The central flow's closed forms against RMSProp and Adam themselves, full batch, at the edge of
stability.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import refuses

from betaplane.theory import (
    flow_rate,
    resting_root_v,
    stability_threshold,
    steps_to_edge,
    swing,
    two_cycle,
)


def tail(h: float, pull: float, lr: float, beta2: float = 0.999, steps: int = 60_000) -> np.ndarray:
    """RMSProp on h y^2 / 2 whose minimum recedes by `pull` a step: y, g and v of the last 20,000
    steps, (3, steps).
    """
    y, v, path = 0.3 * lr, (0.7 * lr * h) ** 2, []
    for _ in range(steps):
        g = h * y
        v = beta2 * v + (1 - beta2) * g * g
        y += -lr * g / math.sqrt(v) - pull
        path.append((y, g, v))
    return np.array(path[-20_000:]).T


@pytest.mark.parametrize("pull", [0.0, 0.3, 0.6])
def test_a_bowl_sets_v_by_its_curvature(pull: float) -> None:
    """Swings fill v up to (lr h / 2)^2, whatever the mean gradient that pulls along."""
    h, lr = 3.0, 0.01
    y, g, v = tail(h, pull * lr, lr)
    root_v, mean = math.sqrt(v.mean()), g.mean()
    assert root_v == pytest.approx(resting_root_v(mean, h, lr), rel=2e-3)
    assert y.std() == pytest.approx(swing(mean, root_v, lr), rel=5e-3)
    assert abs(mean) == pytest.approx(pull * root_v, rel=5e-3, abs=1e-6)


def test_a_slope_sets_v_by_its_gradient() -> None:
    v = 1.0
    for _ in range(20_000):
        v = 0.999 * v + 0.001 * 0.4**2
    assert math.sqrt(v) == pytest.approx(resting_root_v(-0.4, 0.0, 0.01), rel=1e-6)
    assert swing(-0.4, resting_root_v(-0.4, 0.0, 0.01), 0.01) == 0


def test_without_a_mean_gradient_it_is_the_two_cycle() -> None:
    assert swing(0.0, 5.0, 0.1) == two_cycle(0.1, 0.0)


def test_a_preconditioner_that_trades_size_for_curvature() -> None:
    """min P + g^2 / (lr^2 P) with h <= 2 P, by trying all P."""
    lr, P = 0.1, np.geomspace(1e-3, 1e3, 400_001)
    for g, h in ((0.3, 1.0), (0.3, 20.0), (-2.0, 39.0), (0.0, 5.0)):
        allowed = P[h / 2 <= P]
        best = allowed[np.argmin(allowed + (g / lr) ** 2 / allowed)]
        assert resting_root_v(g, h, lr) == pytest.approx(lr * best, rel=1e-4)


@pytest.mark.parametrize("beta2", [0.98, 0.99, 0.995])
def test_when_a_converged_run_becomes_unstable(beta2: float) -> None:
    """Adam on x^2 / 2: predicted at step 500 from v, observed when curvature passes the threshold."""
    beta1, lr, x, m, v, edge, seen = 0.9, 0.01, 1.0, 0.0, 0.0, math.inf, 0
    for t in range(1, 20_000):
        m, v = beta1 * m + (1 - beta1) * x, beta2 * v + (1 - beta2) * x * x
        x -= lr * m / (1 - beta1**t) / math.sqrt(v / (1 - beta2**t))
        room = stability_threshold(beta1, lr) * math.sqrt(v / (1 - beta2**t))
        if t == 500:
            edge = t + steps_to_edge(room, beta2)
        if room < 1:
            seen = t
            break
    assert seen > 600
    assert seen == pytest.approx(edge, rel=0.01)


def test_the_flow_follows_as_the_average_does() -> None:
    """The same decay in the long run as exp(-rate t) to first order in 1 - beta2, exact as an
    implicit step.
    """
    beta2, v, g2 = 0.9, 3.0, 1.0
    after = beta2 * v + (1 - beta2) * g2
    assert after - v == pytest.approx(flow_rate(beta2) * (g2 - after), rel=1e-12)
    assert flow_rate(0.9999) == pytest.approx(-math.log(0.9999), rel=1e-4)


BAD = [
    (lambda: resting_root_v(math.inf, 1, 1), "gradient is out of range: got inf"),
    (lambda: resting_root_v(1, -1, 1), "curvature is out of range: got -1.0; expected [0, inf)"),
    (lambda: resting_root_v(1, 1, 0), "lr is out of range: got 0.0"),
    (lambda: swing(math.nan, 1, 1), "gradient is out of range: got nan"),
    (lambda: swing(1, 0, 1), "root_v is out of range: got 0.0"),
    (lambda: swing(1, 1, -1), "lr is out of range: got -1.0"),
    (lambda: steps_to_edge(0.5, 0.9), "room is out of range: got 0.5; expected [1, inf)"),
    (lambda: steps_to_edge(2, 1.0), "beta2 is out of range: got 1.0"),
    (lambda: flow_rate(0.0), "beta2 is out of range: got 0.0"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

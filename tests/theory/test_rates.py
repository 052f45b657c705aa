"""The best local rate against a search over lr and beta1, and against Adam's step run near a
minimum.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import refuses

from betaplane.theory import local_rate


def radius(lr: np.ndarray, beta1: np.ndarray, curvature: float) -> np.ndarray:
    """The larger root of z^2 - (1 + beta1 - lr (1 - beta1) c) z + beta1, in size."""
    half = (1 + beta1 - lr * (1 - beta1) * curvature) / 2
    root = np.sqrt(half.astype(complex) ** 2 - beta1)
    return np.maximum(np.abs(half + root), np.abs(half - root))


def worst(lr: np.ndarray, beta1: np.ndarray, condition: float) -> np.ndarray:
    """Over curvatures from 1 / condition to 1."""
    return np.max([radius(lr, beta1, c) for c in np.geomspace(1 / condition, 1, 41)], axis=0)


@pytest.mark.parametrize("condition", [2.0, 10.0, 300.0])
@pytest.mark.parametrize("momentum", [True, False])
def test_no_settings_do_better(condition: float, momentum: bool) -> None:
    rate, beta1, lr = local_rate(condition, momentum)
    assert worst(np.array(lr), np.array(beta1), condition) == pytest.approx(rate, rel=1e-6)
    rates = worst(
        lr * np.geomspace(0.2, 5, 301),
        np.linspace(0, 0.99, 199)[:, None] if momentum else np.zeros(1),
        condition,
    )
    assert rates.min() >= rate - 1e-9
    assert rates.min() == pytest.approx(rate, abs=0.02)


def test_rate_of_a_run() -> None:
    """Two curvatures, the extreme ones, v frozen at 1."""
    rate, beta1, lr = local_rate(50.0)
    x, m, c = np.ones(2), np.zeros(2), np.array([1 / 50, 1.0])
    sizes = []
    for _ in range(400):
        m = beta1 * m + (1 - beta1) * c * x
        x = x - lr * m
        sizes.append(np.abs(x).max())
    assert (sizes[399] / sizes[199]) ** (1 / 200) == pytest.approx(rate, rel=0.01)


def test_bad_input() -> None:
    refuses(lambda: local_rate(0.5), "condition is out of range: got 0.5; expected [1, inf)")
    refuses(
        lambda: local_rate([2.0, math.nan], momentum=False), "condition is out of range: got nan"
    )
    assert local_rate(1.0) == (0.0, 0.0, 1.0)

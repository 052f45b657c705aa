"""The update after a jump of the gradient, against the recursions themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import PLANE, average, refuses

from betaplane.theory import jump, jump_peak, update_bound

FACTORS = [1e4, 10.0, 1.0, 0.1, 1e-3, -0.5, -1.0, -30.0]


def simulated(beta1: float, beta2: float, factor: float, steps: int) -> np.ndarray:
    """The update after 1, 2, ... steps of gradient `factor`, both averages settled at gradient 1
    before.
    """
    g = np.full(steps, factor)
    return average(g, beta1, 1.0) / np.sqrt(average(g * g, beta2, 1.0))


@pytest.mark.parametrize(("beta1", "beta2"), PLANE)
@pytest.mark.parametrize("factor", FACTORS)
def test_jump_against_the_recursions(beta1: float, beta2: float, factor: float) -> None:
    expected = simulated(beta1, beta2, factor, 200)
    assert np.allclose(
        jump(np.arange(1, 201), beta1, beta2, factor), expected, rtol=1e-9, atol=1e-12
    )
    assert jump(0, beta1, beta2, factor) == 1


@pytest.mark.parametrize(
    ("beta1", "beta2"), [(beta1, beta2) for beta1, beta2 in PLANE if beta2 > 0]
)
@pytest.mark.parametrize("factor", FACTORS)
def test_peak_against_the_recursions(beta1: float, beta2: float, factor: float) -> None:
    u = np.abs(simulated(beta1, beta2, factor, 60_000 if beta2 > 0.99 else 6_000))
    peak = jump_peak(beta1, beta2, factor)
    assert peak.u == pytest.approx(u.max(), rel=1e-7)
    if peak.u > 1 + 1e-6:
        assert peak.k == u.argmax() + 1
    else:
        assert peak.k == math.inf


def test_infinite_jump_is_the_limit_of_large_ones() -> None:
    k = np.arange(1, 50)
    assert np.allclose(jump(k, 0.9, 0.999, 1e12), jump(k, 0.9, 0.999), rtol=1e-9)
    assert np.allclose(jump(k, 0.9, 0.999, -math.inf), -jump(k, 0.9, 0.999))
    assert jump(3, 0.9, 0.999, 1e200) == pytest.approx(jump(3, 0.9, 0.999))
    assert jump(1, 0.9, 0.999) == pytest.approx(0.1 / math.sqrt(0.001))


@pytest.mark.parametrize(
    ("beta1", "beta2", "factor", "k", "u"),
    [
        (0.9, 0.999, math.inf, 12, 6.57),
        (0.9, 0.95, math.inf, 20, 1.097),
        (0.9, 0.999, 10, 17, 5.20),
        (0.95, 0.9, 1e-3, 129, 1.557),
        (0.99, 0.9, 1e-3, 145, 210.5),
        (0.99, 0.95, 0.1, 106, 3.43),
    ],
)
def test_peaks_of_the_table(beta1: float, beta2: float, factor: float, k: int, u: float) -> None:
    peak = jump_peak(beta1, beta2, factor)
    assert peak.k == k
    assert peak.u == pytest.approx(u, rel=1e-3)


def test_vanishing_gradients() -> None:
    """With c = 0 the update grows for ever where beta1^2 > beta2; elsewhere it is largest at once."""
    assert jump_peak(0.9, 0.8, 0) == (math.inf, math.inf)
    first = jump_peak(0.9, 0.95, 0)
    assert (first.k, first.u) == (1, pytest.approx(0.9 / math.sqrt(0.95)))
    assert jump(1000, 0.9, 0.8, 0) == pytest.approx((0.9 / math.sqrt(0.8)) ** 1000, rel=1e-9)


def test_no_jump_exceeds_the_bound() -> None:
    for beta1, beta2 in [
        (0.0, 0.9),
        (0.5, 0.9),
        (0.9, 0.95),
        (0.9, 0.999),
        (0.99, 0.999),
        (0.95, 0.91),
    ]:
        for factor in [*FACTORS, math.inf]:
            assert jump_peak(beta1, beta2, factor).u <= update_bound(beta1, beta2) + 1e-12
    assert jump_peak(0.9, 0.999).u > 0.9 * update_bound(0.9, 0.999)


def test_flip_crosses_zero_where_half_the_momentum_is_left() -> None:
    k = math.log(0.5) / math.log(0.9)
    assert k == pytest.approx(6.58, abs=5e-3)
    assert jump(k, 0.9, 0.5, -1) == pytest.approx(jump(k, 0.9, 0.999, -1), abs=1e-12)
    assert jump(k, 0.9, 0.999, -1) == pytest.approx(0, abs=1e-12)


BAD = [
    (lambda: jump(-1, 0.9, 0.99), "k is out of range: got -1.0; expected [0, inf)"),
    (lambda: jump(1, 1.0, 0.99), "beta1 is out of range: got 1.0"),
    (lambda: jump(1, 0.9, math.nan), "beta2 is out of range: got nan"),
    (lambda: jump(1, 0.9, 0.99, math.nan), "factor is out of range: got nan"),
    (lambda: jump_peak(0.9, 0.0), "beta2 is out of range: got 0.0; expected (0, 1)"),
    (lambda: jump_peak(-0.1, 0.9), "beta1 is out of range: got -0.1"),
    (lambda: jump_peak(0.9, 0.9, math.nan), "factor is out of range: got nan"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

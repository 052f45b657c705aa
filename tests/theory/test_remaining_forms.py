"""Where Adam rests, what equal betas make of it, and what theorems promise, against sampling and
running Adam.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, refuses

from betaplane.theory import (
    Constants,
    adagrad_bound,
    adam_bound,
    rest_shift,
    two_cycle,
    variance_about_momentum,
)

# ---- the zero of the mean update


@pytest.mark.parametrize(("beta1", "beta2"), [(0.0, 0.99), (0.5, 0.99), (0.9, 0.99)])
def test_mean_update_of_skewed_gradients_by_sampling(beta1: float, beta2: float) -> None:
    """With E[g] = 0 the mean of m / sqrt(v) is minus the shift; m / sigma, whose mean is 0, is
    taken off the noise.
    """
    p = 0.1
    sigma, skewness = math.sqrt(p * (1 - p)), (1 - 2 * p) / math.sqrt(p * (1 - p))
    rng = np.random.default_rng(0)
    m, v, total = np.zeros(1000), np.full(1000, sigma**2), 0.0
    for t in range(2500):
        g = (rng.random(1000) < p) - p
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        total += (m / np.sqrt(v) - m / sigma).mean() if t >= 500 else 0.0
    assert total / 2000 == pytest.approx(-rest_shift(beta1, beta2, skewness), rel=0.12)


def test_rest_of_a_quadratic_by_running_adam() -> None:
    """f = E[(x - X)^2] / 2, X = 1 once in ten: RMSProp rests below the mean, by (1 - beta2) (1 - 2
    p) / 2.
    """
    p, beta2 = 0.1, 0.95
    rng = np.random.default_rng(1)
    x, v, total = np.full(2000, p), np.full(2000, p * (1 - p)), 0.0
    for t in range(3000):
        g = x - (rng.random(2000) < p)
        v = beta2 * v + (1 - beta2) * g * g
        x = x - 5e-4 * g / np.sqrt(v)
        total += x.mean() if t >= 2000 else 0.0
    sigma, skewness = math.sqrt(p * (1 - p)), (1 - 2 * p) / math.sqrt(p * (1 - p))
    assert p - total / 1000 == pytest.approx(sigma * rest_shift(0.0, beta2, skewness), rel=0.1)
    assert sigma * rest_shift(0.0, beta2, skewness) == pytest.approx((1 - beta2) * (1 - 2 * p) / 2)


def test_symmetric_gradients_have_no_shift() -> None:
    assert rest_shift(0.9, 0.9, 0.0) == 0
    assert rest_shift(0.0, 0.9, -1.0) == -rest_shift(0.0, 0.9, 1.0)


# ---- the two-cycle


def orbit(lr: float, beta1: float, beta2: float, c: float, shift: float, steps: int) -> np.ndarray:
    """Adam on c x^2 / 2 without correction, started on the cycle and `shift` of it away."""
    A = two_cycle(lr, beta1)
    x, m, v, path = A * (1 + shift), -(1 - beta1) / (1 + beta1) * c * A, (c * A) ** 2, []
    for _ in range(steps):
        g = c * x
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        x -= lr * m / math.sqrt(v)
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.0, 0.9), (0.2, 0.5), (0.9, 0.999), (0.5, 0.1)])
@pytest.mark.parametrize("c", [0.01, 30.0])
def test_the_cycle_is_one(beta1: float, beta2: float, c: float) -> None:
    A = two_cycle(0.1, beta1)
    assert np.allclose(
        orbit(0.1, beta1, beta2, c, 0.0, 10), A * (-1.0) ** np.arange(1, 11), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("beta1", "beta2", "attracts"), [(0.0, 0.9, True), (0.1, 0.99, True), (0.9, 0.999, False)]
)
def test_the_cycle_attracts_or_repels(beta1: float, beta2: float, attracts: bool) -> None:
    away = np.abs(np.abs(orbit(0.1, beta1, beta2, 1.0, 1e-6, 200)) / two_cycle(0.1, beta1) - 1)
    assert (away[-20:].max() < 1e-6) == attracts


# ---- equal betas


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
def test_variance_is_v_minus_m_squared(beta: float) -> None:
    g = np.random.default_rng(0).standard_normal((200, 3))
    m, v = average(g, beta), average(g * g, beta)
    sigma2 = variance_about_momentum(g, beta)
    assert np.allclose(sigma2, v - m**2, rtol=0, atol=1e-13)
    assert np.allclose(m / np.sqrt(v), np.sign(m) / np.sqrt(1 + sigma2 / m**2), rtol=1e-9)


# ---- guarantees

GAP = math.log(math.cosh(5.0))


def test_bounds_of_the_table() -> None:
    for steps, printed in ((1000, 15.99), (10_000, 5.45)):
        bound = adam_bound(Constants(GAP, R=2, L=1), 0.5 / math.sqrt(steps), 1 - 1 / steps, steps)
        assert bound == pytest.approx(printed, abs=5e-3)


def measured(steps: int, beta1: float, lr: float, beta2: float) -> float:
    """The mean of |grad f|^2 on f = ln(e^x + e^-x), gradients off by +-0.9, from x = 5; averages
    that are sums.
    """
    rng = np.random.default_rng(0)
    x, m, v, total = np.full(200, 5.0), np.zeros(200), np.zeros(200), 0.0
    for t in range(1, steps + 1):
        slope = np.tanh(x)
        total += (slope**2).mean()
        g = slope + 0.9 * rng.choice([-1, 1], 200)
        m, v = beta1 * m + g, beta2 * v + g * g
        weight = (1 - beta1) * (math.sqrt((1 - beta2**t) / (1 - beta2)) if beta2 < 1 else 1)
        x = x - lr * weight * m / np.sqrt(1e-8 + v)
    return total / steps


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_guarantee_of_adam_holds_and_is_loose(beta1: float) -> None:
    lr, beta2 = 0.5 / math.sqrt(1000), 0.999
    found = measured(1000, beta1, lr, beta2)
    assert found == pytest.approx(0.37, abs=0.03)
    assert adam_bound(Constants(GAP, R=2, L=1), lr, beta2, 1000, beta1) > 40 * found


def test_guarantee_of_adagrad_holds_and_is_loose() -> None:
    found = measured(1000, 0.0, 0.5, 1.0)
    assert 10 * found < adagrad_bound(Constants(GAP, R=2, L=1), 0.5, 1000) < 1000 * found


def test_rates() -> None:
    """With lr ~ 1 / sqrt(N), beta2 = 1 - 1 / N, the bound falls like ln(N) / sqrt(N), whatever
    beta1.
    """
    problem = Constants(1.0, R=1.0, L=1.0, d=10)
    for beta1 in (0.0, 0.9):
        N = [10**6, 10**8]
        bound = [
            adam_bound(problem, 1 / math.sqrt(n), 1 - 1 / n, n, beta1) * math.sqrt(n) for n in N
        ]
        assert bound[1] / bound[0] == pytest.approx(1.0, abs=0.35)
    assert adagrad_bound(problem, 1.0, 10**6) > 8 * adagrad_bound(problem, 1.0, 10**8)


OK = Constants(1.0, 1.0, 1.0)
BAD = [
    (lambda: rest_shift(1.0, 0.9, 0), "beta1 is out of range: got 1.0"),
    (lambda: rest_shift(0.9, 1.0, 0), "beta2 is out of range: got 1.0"),
    (lambda: rest_shift(0.9, 0.9, math.inf), "skewness is out of range: got inf"),
    (lambda: two_cycle(0, 0.9), "lr is out of range: got 0.0"),
    (lambda: two_cycle(0.1, -1), "beta1 is out of range: got -1.0"),
    (lambda: variance_about_momentum([1, math.nan], 0.9), "g is out of range: got nan"),
    (lambda: variance_about_momentum([1, 2], 1.0), "beta is out of range: got 1.0"),
    (lambda: variance_about_momentum(3.0, 0.9), "g has no steps: got 3.0"),
    (lambda: adagrad_bound(OK._replace(gap=-1), 0.1, 10), "gap is out of range: got -1.0"),
    (lambda: adagrad_bound(OK._replace(R=0), 0.1, 10), "R is out of range: got 0.0"),
    (lambda: adagrad_bound(OK._replace(L=-1), 0.1, 10), "L is out of range: got -1.0"),
    (lambda: adagrad_bound(OK._replace(d=0), 0.1, 10), "d is out of range: got 0.0"),
    (lambda: adagrad_bound(OK._replace(eps=0), 0.1, 10), "eps is out of range: got 0.0"),
    (lambda: adagrad_bound(OK, 0, 10), "lr is out of range: got 0.0"),
    (lambda: adagrad_bound(OK, 0.1, 0), "steps is out of range: got 0.0"),
    (lambda: adam_bound(OK, 0.1, 1.0, 10), "beta2 is out of range: got 1.0; expected (0, 1)"),
    (lambda: adam_bound(OK, 0.1, 0.9, 10, beta1=0.95), "beta1 / beta2 is out of range: got 1.05"),
    (
        lambda: adam_bound(OK, 0.1, 0.999, 5, beta1=0.9),
        "steps - beta1 / (1 - beta1) is out of range: got -4.0",
    ),
    (lambda: adam_bound(OK, -0.1, 0.999, 5), "lr is out of range: got -0.1"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

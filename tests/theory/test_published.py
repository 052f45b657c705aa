"""Published thresholds beside the exact boundary; Reddi's construction, the growth condition, the
lemma on v.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, refuses

from betaplane.theory import (
    concentration,
    critical_beta2,
    drift,
    failing_period,
    growth_constant,
    kingma_ba_condition,
    reddi_beta2,
    reddi_holds,
    reddi_period,
    second_moment_spread,
    shi_threshold,
    zhang_threshold,
)

# ---- thresholds


@pytest.mark.parametrize("n", [5, 20, 100, 500])
def test_theorems_are_sufficient_and_loose(n: int) -> None:
    exact = 1 - critical_beta2(0.0, n)
    assert exact == pytest.approx(4 / n**2, rel=0.3)
    assert 1 - shi_threshold(n) < exact / n
    assert 1 - zhang_threshold(0.0, n) < exact / n**2
    assert zhang_threshold(0.5, n, constant=100) >= zhang_threshold(0.0, n, constant=100)


def test_orders_in_n() -> None:
    n = np.array([50, 100])
    for threshold, order in ((shi_threshold, 3.5), (lambda n: zhang_threshold(0.5, n), 5)):
        found = np.diff(np.log(1 - threshold(n))) / np.log(2)
        assert found == pytest.approx(-order, rel=1e-4)
    assert 1 - zhang_threshold(0.9, 10, constant=7) == pytest.approx(
        7 * (1 - 0.9**10) / 1e5, rel=1e-9
    )


def test_kingma_ba_condition_admits_updates_that_blow_up() -> None:
    assert kingma_ba_condition(0.9, 0.8) == pytest.approx(0.9057, abs=1e-4)
    assert 0.9**2 > 0.8


@pytest.mark.parametrize(("n", "a"), [(3, 1.0), (3, 0.25), (4, 1 / 9), (10, 1 / 81), (20, 2.0)])
def test_growth_constant_holds_with_equality_at_every_point(n: int, a: float) -> None:
    """From the components' values, by central differences, on both sides of the kink."""
    G = 1 + (n - 1) * a
    slope = np.full(n, -a)
    slope[0] = G

    def components(x: float) -> np.ndarray:
        return slope * (x if x >= -1 else ((x + 2) ** 2 - 3) / 2)

    for x in (-7.0, -2.5, -1.3, 0.0, 5.0):
        g = (components(x + 1e-5) - components(x - 1e-5)) / 2e-5
        assert (g**2).sum() / g.mean() ** 2 == pytest.approx(growth_constant(n, a), rel=1e-6)


def test_growth_constant_of_the_printed_instances() -> None:
    n = np.arange(3, 40)
    assert np.allclose(growth_constant(n), n**4 + n**3 - n**2.0)
    shallow = growth_constant([3, 4, 5, 10, 20], [1 / 4, 1 / 9, 1 / 16, 1 / 81, 1 / 361])
    assert np.allclose(shallow, [21.375, 29.04, 39.45, 123.6, 443.3], rtol=2e-4)
    within = growth_constant(n, 1 / (n - 1.0) ** 2) <= 2 * n**2
    assert not within[0]
    assert within[1:].all()


# ---- Reddi's construction

PERIODS = [
    (0, 0.9, 204, 7),
    (0, 0.99, 3218, 21),
    (0.9, 0.95, 486, 17),
    (0.9, 0.99, 3218, 30),
    (0.9, 0.999, 42622, 74),
]


@pytest.mark.parametrize(("beta1", "beta2", "proved", "enough"), PERIODS)
def test_periods(beta1: float, beta2: float, proved: int, enough: int) -> None:
    assert reddi_period(beta1, beta2) == proved
    assert failing_period(beta1, beta2) == enough
    every = np.arange(4, proved + 2000, 2)
    assert every[reddi_holds(every, beta1, beta2)].min() == proved
    assert reddi_holds(every[every >= proved], beta1, beta2).all()
    assert drift(beta1, beta2, proved if proved < 5000 else 5000) < 0


def test_rmsprop_condition_as_others_quote_it() -> None:
    C = np.arange(4, 400, 2)
    for beta2 in (0.3, 0.9, 0.97):
        quoted = (beta2 <= C ** (-4 / (C - 2))) & (beta2 <= 1 - (9 / (2 * C)) ** 2)
        assert (reddi_holds(C, 0.0, beta2) == quoted).all()


@pytest.mark.parametrize(("beta1", "beta2"), [(0.0, 0.9), (0.9, 0.95)])
def test_failing_period_by_running_adam(beta1: float, beta2: float) -> None:
    """At the smallest failing period Adam climbs the mean slope; one component fewer and it
    descends.
    """
    n = failing_period(beta1, beta2)
    for period, sign in ((n, 1), (n - 1, -1)):
        g = np.tile([float(period)] + [-1.0] * (period - 1), 400)
        u = average(g, beta1) / np.sqrt(average(g * g, beta2))
        assert np.sign(-u[-100 * period :].sum()) == sign


def test_reddi_beta2_by_running_adam() -> None:
    for C in (2.5, 3.0, 10.0, 100.0):
        g = np.tile([C, -1.0, -1.0], 2000)
        bad = (average(g, 0.0) / np.sqrt(average(g * g, reddi_beta2(C))))[-300:].sum()
        good = (average(g, 0.9) / np.sqrt(average(g * g, 0.999)))[-300:].sum()
        assert bad < 0 < good


def test_reddi_leaves_out_what_blows_up() -> None:
    assert math.isnan(reddi_period(0.9, 0.81))
    assert not reddi_holds([10, 100, 10_000], 0.95, 0.9).any()


# ---- the lemma


def test_lemma_holds_for_one_draw() -> None:
    n, beta2 = 10, 0.9999
    lower, upper, probability = concentration(n, beta2)
    assert (round(lower, 6), round(upper, 6), round(probability, 4)) == (0.991992, 1.008105, 0.9807)
    rng = np.random.default_rng(0)
    squares = np.where(rng.random((60_000, 20)) < 1 / n, float(n * n), 1.0)
    v = average(squares, beta2, start=(n * n + n - 1) / n)
    expected = beta2 * v[:-1] + (1 - beta2) * (n * n + n - 1) / n
    inside = np.sqrt(expected / v[1:])
    assert ((lower <= inside) & (inside <= upper)).mean() >= probability
    overall = np.sqrt((n * n + n - 1) / n / v[30_000:])
    # the mean over the past too: another matter
    assert ((lower <= overall) & (overall <= upper)).mean() < probability


def test_lemma_of_the_table_and_where_it_says_nothing() -> None:
    found = concentration(10, np.array([0.9, 0.99999]), delta=1 / 40)
    assert np.allclose(found.lower, [0, 0.9992], atol=1e-6)
    assert np.allclose(found.upper, [math.inf, 1.000801], atol=1e-6)
    assert found.probability[0] == 0
    assert found.probability[1] == pytest.approx(1)
    assert concentration(10, 0.0) == (0.0, math.inf, 0.0)


@pytest.mark.parametrize("beta2", [0.0, 0.9, 0.99])
def test_spread_by_sampling(beta2: float) -> None:
    rng = np.random.default_rng(1)
    for g, kurtosis in (
        (rng.standard_normal((1500, 1500)), 3.0),
        (np.where(rng.random((1500, 1500)) < 0.1, 10.0, -1.0), None),
    ):
        kurtosis = kurtosis or (0.1 * 1e4 + 0.9) / (0.1 * 100 + 0.9) ** 2
        v = average(g * g, beta2)[-1]
        assert v.std() / v.mean() == pytest.approx(second_moment_spread(beta2, kurtosis), rel=0.08)


BAD = [
    (lambda: zhang_threshold(1.0, 10), "beta1 is out of range: got 1.0"),
    (lambda: zhang_threshold(0.9, 1), "n is out of range: got 1.0; expected [2, inf)"),
    (lambda: zhang_threshold(0.9, 10, constant=0), "constant is out of range: got 0.0"),
    (lambda: shi_threshold(math.inf), "n is out of range: got inf"),
    (lambda: shi_threshold(10, constant=-1), "constant is out of range: got -1.0"),
    (lambda: kingma_ba_condition(0.9, 0.0), "beta2 is out of range: got 0.0; expected (0, 1)"),
    (lambda: growth_constant(1), "n is out of range: got 1.0"),
    (lambda: growth_constant(3, a=0), "a is out of range: got 0.0; expected (0, inf)"),
    (lambda: reddi_holds(2, 0.9, 0.99), "C is out of range: got 2.0; expected [4, inf)"),
    (lambda: reddi_holds(10, 0.9, 1.0), "beta2 is out of range: got 1.0"),
    (lambda: reddi_period(-0.1, 0.9), "beta1 is out of range: got -0.1"),
    (lambda: failing_period(0.9, 1.5), "beta2 is out of range: got 1.5"),
    (lambda: reddi_beta2(2), "C is out of range: got 2.0; expected (2, inf)"),
    (lambda: concentration(1, 0.9), "n is out of range: got 1.0"),
    (lambda: concentration(10, math.nan), "beta2 is out of range: got nan"),
    (
        lambda: concentration(10, 0.9, delta=0.1),
        "delta is too large: got 0.1; expected (0, 1 / (4 n)]",
    ),
    (lambda: concentration(10, 0.9, delta=0.0), "delta is out of range: got 0.0"),
    (lambda: second_moment_spread(-1), "beta2 is out of range: got -1.0"),
    (
        lambda: second_moment_spread(0.9, kurtosis=0.5),
        "kurtosis is out of range: got 0.5; expected [1, inf)",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

"""The bounds on one update against golden numbers, an eigenvalue problem, and histories fed through
the recursions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import PLANE, average, golden, refuses

from betaplane.theory import (
    adamax_bound,
    atan2_bound,
    blow_up_rate,
    extremal_gradients,
    kingma_ba_claim,
    laprop_bound,
    update_bound,
)

POSITIVE_BETA2 = [(beta1, beta2) for beta1, beta2 in PLANE if beta2 > 0]


def ratio(g: np.ndarray, beta1: float, beta2: float) -> np.ndarray:
    """|m| / sqrt(v) after the last gradient, without bias correction."""
    return np.abs(average(g, beta1)[-1]) / np.sqrt(average(g * g, beta2)[-1])


def correction(beta1: float, beta2: float, t: int) -> float:
    return math.sqrt(1 - beta2**t) / (1 - beta1**t)


# ---- Adam


def test_golden_bounds() -> None:
    for row in golden("update_bounds", "finite_t"):
        beta1, beta2, t = row["beta1"], row["beta2"], row["t"]
        assert update_bound(beta1, beta2, t, corrected=False) == pytest.approx(
            row["bound"], rel=1e-13
        )
        assert update_bound(beta1, beta2, t) == pytest.approx(row["bound_corrected"], rel=1e-13)
    for row in golden("update_bounds", "steady_state"):
        beta1, beta2 = row["beta1"], row["beta2"]
        assert update_bound(beta1, beta2) == pytest.approx(row["steady_bound"], rel=1e-13)
        assert update_bound(beta1, beta2, corrected=False) == update_bound(beta1, beta2)
        assert kingma_ba_claim(beta1, beta2) == pytest.approx(row["kingma_ba_claim"], rel=1e-13)
        assert laprop_bound(beta1, beta2) == pytest.approx(row["laprop_bound"], rel=1e-13)


@pytest.mark.parametrize(("beta1", "beta2"), POSITIVE_BETA2)
@pytest.mark.parametrize("t", [1, 2, 7, 300])
def test_extremal_gradients_attain_the_bound(beta1: float, beta2: float, t: int) -> None:
    g = extremal_gradients(beta1, beta2, t)
    assert g.max() == 1
    assert ratio(g, beta1, beta2) == pytest.approx(
        update_bound(beta1, beta2, t, corrected=False), rel=1e-10
    )
    corrected = ratio(g, beta1, beta2) * correction(beta1, beta2, t)
    assert corrected == pytest.approx(update_bound(beta1, beta2, t), rel=1e-10)


@pytest.mark.parametrize(("beta1", "beta2"), POSITIVE_BETA2)
@pytest.mark.parametrize("t", [1, 5, 40])
def test_bound_is_an_eigenvalue(beta1: float, beta2: float, t: int) -> None:
    """The largest (w.g)^2 / (g.D g), w and D read off the recursions, is the top eigenvalue of
    D^-1/2 w w' D^-1/2.
    """
    w = average(np.eye(t), beta1)[-1]
    scale = 1 / np.sqrt(average(np.eye(t), beta2)[-1])
    top = np.linalg.eigvalsh(np.outer(w * scale, w * scale))[-1]
    assert update_bound(beta1, beta2, t, corrected=False) == pytest.approx(math.sqrt(top), rel=1e-9)


def test_no_history_exceeds_the_bound() -> None:
    rng = np.random.default_rng(0)
    for beta1, beta2 in PLANE:
        g = (
            rng.standard_normal((60, 2000))
            * np.exp(rng.normal(0, 2, (60, 2000)))
            * rng.uniform(0.7, 1.5, 2000) ** np.arange(60)[:, None]
        )
        assert (
            ratio(g, beta1, beta2) <= update_bound(beta1, beta2, 60, corrected=False) * (1 + 1e-12)
        ).all()


def test_bound_tends_to_its_steady_state() -> None:
    for beta1, beta2 in [(0.0, 0.5), (0.9, 0.95), (0.9, 0.999), (0.8, 0.7)]:
        path = update_bound(beta1, beta2, np.arange(1, 30_000))
        assert (np.diff(path) >= -1e-12).all()
        assert path[-1] == pytest.approx(update_bound(beta1, beta2), rel=1e-9)
        assert path[0] == pytest.approx(1)


def test_bound_is_one_on_the_diagonal_only() -> None:
    beta = np.linspace(0, 0.99, 34)
    assert np.allclose(update_bound(beta, beta, 50), 1, rtol=1e-10)
    off = update_bound(beta[:, None], beta, 50) - 1
    assert (off[~np.eye(34, dtype=bool)] > 1e-6).all()


def test_bound_without_limit() -> None:
    """On beta1^2 = beta2 it grows like sqrt(t); beyond, by the blow-up rate a step; at beta2 = 0 at
    once.
    """
    assert update_bound(0.5, 0.25, 400, corrected=False) == pytest.approx(
        0.5 / math.sqrt(0.75) * 20, rel=1e-12
    )
    assert update_bound(0.5, 0.25) == update_bound(0.9, 0.5) == math.inf
    grown = update_bound(0.9, 0.8, 2001, corrected=False) / update_bound(
        0.9, 0.8, 2000, corrected=False
    )
    assert math.log(grown) == pytest.approx(blow_up_rate(0.9, 0.8), rel=1e-6)
    assert update_bound(0.9, 0.0, 2) == math.inf
    assert update_bound(0.9, 0.0, 1) == pytest.approx(1)
    assert update_bound(0.0, 0.0) == 1


def test_bound_near_the_edge_keeps_its_digits() -> None:
    """r = 1 - 1e-12 and r = 1 agree: the sum of t powers is t either way."""
    near = update_bound(0.5, 0.25 * (1 + 1e-12), 1000, corrected=False)
    assert near == pytest.approx(update_bound(0.5, 0.25, 1000, corrected=False), rel=1e-8)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.8), (0.99, 0.95), (0.9, 0.95), (0.5, 0.999)])
def test_blow_up_rate_is_that_of_vanished_gradients(beta1: float, beta2: float) -> None:
    g = np.concatenate([np.ones(500), np.zeros(40)])
    u = average(g, beta1, 1.0) / np.sqrt(average(g * g, beta2, 1.0))
    assert np.allclose(np.diff(np.log(u[500:])), blow_up_rate(beta1, beta2), rtol=1e-8)


def test_claim_is_broken_off_the_diagonal() -> None:
    """Everywhere but at beta1 = 0 and beta1 = beta2 a history exceeds the claim of Kingma & Ba."""
    beta = np.linspace(0, 0.99, 34)
    above = update_bound(beta[:, None], beta) / kingma_ba_claim(beta[:, None], beta) - 1
    kept = np.eye(34, dtype=bool) | (beta[:, None] == 0)
    assert np.allclose(above[kept], 0, atol=1e-9)
    assert (above[~kept] > 1e-6).all()
    assert ratio(extremal_gradients(0.9, 0.99, 500), 0.9, 0.99) > 2.3 * kingma_ba_claim(0.9, 0.99)


def test_claim_is_what_one_gradient_after_zeros_gives() -> None:
    spike = np.array([0.0, 0.0, 0.0, 5.0])
    assert ratio(spike, 0.9, 0.999) == pytest.approx(kingma_ba_claim(0.9, 0.999), rel=1e-12)


# ---- relatives


@pytest.mark.parametrize(("beta1", "beta2"), PLANE)
@pytest.mark.parametrize("t", [1, 2, 12, 25])
def test_laprop_bound_is_approached(beta1: float, beta2: float, t: int) -> None:
    g, i = 1e6 ** np.arange(t), np.arange(1, t + 1)
    n = g / np.sqrt(average(g * g, beta2) / (1 - beta2**i))
    u = average(n, beta1)[-1] / (1 - beta1**t)
    assert u == pytest.approx(laprop_bound(beta1, beta2, t), rel=1e-6)
    assert u <= laprop_bound(beta1, beta2, t) * (1 + 1e-12)


def test_laprop_bound_is_larger_than_adams_above_a_curve() -> None:
    for beta1 in (0.1, 0.5, 0.9):
        edge = beta1 / (2 - beta1)
        assert laprop_bound(beta1, edge + 1e-3) > update_bound(beta1, edge + 1e-3)
        assert laprop_bound(beta1, edge - 1e-3) < update_bound(beta1, edge - 1e-3)
    assert laprop_bound(0.9, 0.99, 5000) == pytest.approx(laprop_bound(0.9, 0.99), rel=1e-9)


@pytest.mark.parametrize(("beta1", "beta2"), POSITIVE_BETA2)
@pytest.mark.parametrize("t", [1, 2, 12, 200])
def test_adamax_bound_is_attained(beta1: float, beta2: float, t: int) -> None:
    g, u = beta2 ** np.arange(1.0, t + 1), 0.0
    for size in g:
        u = max(beta2 * u, size)
    m_hat = average(g, beta1)[-1] / (1 - beta1**t)
    assert m_hat / u == pytest.approx(adamax_bound(beta1, beta2, t), rel=1e-9)


def test_no_history_exceeds_the_adamax_bound() -> None:
    rng = np.random.default_rng(1)
    for beta1, beta2 in POSITIVE_BETA2:
        g = rng.standard_normal((30, 2000)) * rng.uniform(0.7, 1.2, 2000) ** np.arange(30)[:, None]
        u = np.zeros(2000)
        for size in np.abs(g):
            u = np.maximum(beta2 * u, size)
        assert (
            np.abs(average(g, beta1)[-1]) / (1 - beta1**30) / u
            <= adamax_bound(beta1, beta2, 30) + 1e-12
        ).all()
    assert adamax_bound(0.9, 0.9) == adamax_bound(0.9, 0.5) == math.inf
    assert adamax_bound(0.9, 0.999) == pytest.approx(1.00909, abs=1e-5)


def test_atan2_is_bounded_and_nearly_one_at_one() -> None:
    u = atan2_bound(np.array([1e-9, 1.0, math.inf]), a=1.27, b=2.0)
    assert u[0] == pytest.approx(1.27e-9 / 2)
    assert u[2] == pytest.approx(1.27 * math.pi / 2)
    assert atan2_bound(1.0) == pytest.approx(math.atan2(3.0, 3.0) * 1.27)


# ---- what comes in


def test_floats_give_floats_and_arrays_broadcast() -> None:
    for found in (
        update_bound(0.9, 0.99),
        blow_up_rate(0.9, 0.99),
        laprop_bound(0.9, 0.99, 3),
        adamax_bound(0.9, 0.99),
    ):
        assert type(found) is float
    assert update_bound([[0.8], [0.9]], [0.9, 0.99, 0.999], 5).shape == (2, 3)
    assert laprop_bound([[0.8], [0.9]], [0.9, 0.99, 0.999], 5).shape == (2, 3)
    assert laprop_bound([[0.8], [0.9]], [0.9, 0.99, 0.999]).shape == (2, 3)


BAD = [
    (
        lambda: update_bound(1.0, 0.9),
        "beta1 is out of range: got 1.0; expected [0, 1) (update_bound",
    ),
    (lambda: update_bound(0.9, [0.9, math.nan]), "beta2 is out of range: got nan"),
    (lambda: update_bound(0.9, 0.99, 0), "t is out of range: got 0.0; expected [1, inf]"),
    (
        lambda: update_bound([0.9, 0.8], [0.9, 0.8, 0.7]),
        "The shapes of beta1 (2,), beta2 (3,), t () do not broadcast",
    ),
    (lambda: update_bound("much", 0.9), "beta1 is not a number: got 'much'"),
    (lambda: extremal_gradients(0.9, 0.0, 5), "beta2 is out of range: got 0.0; expected (0, 1)"),
    (lambda: extremal_gradients(0.9, 0.99, 2.5), "t is out of range: got 2.5; expected 1, 2, ..."),
    (lambda: blow_up_rate(-0.1, 0.9), "beta1 is out of range: got -0.1"),
    (lambda: kingma_ba_claim(0.9, 1.5), "beta2 is out of range: got 1.5"),
    (lambda: laprop_bound(0.9, 1.0), "beta2 is out of range: got 1.0"),
    (lambda: laprop_bound(0.9, 0.99, 0), "t is out of range: got 0"),
    (lambda: adamax_bound(0.9, 0.99, 0.5), "t is out of range: got 0.5"),
    (lambda: atan2_bound(-1.0), "update is out of range: got -1.0"),
    (lambda: atan2_bound(1.0, b=0.0), "b is out of range: got 0.0; expected (0, inf)"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

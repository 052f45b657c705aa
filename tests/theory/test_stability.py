"""The edge of stability against golden numbers, eigenvalues of the step's matrix, and Adam on a
parabola.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from theory_checks import GOLDEN, golden, refuses

from betaplane.theory import preconditioned_curvature, rms_ratio, stability_threshold

BETA1 = [0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99]


def radius(beta1: float, lr: float, curvature: float, nesterov: bool, corrected: float) -> float:
    """The spectral radius of one step's matrix on (x, m), the gradient being curvature x."""
    m = np.array([(1 - beta1) * curvature, beta1])
    step = np.array([(1 - beta1) * curvature, 0.0]) + beta1 * m if nesterov else m
    return np.abs(
        np.linalg.eigvals(np.array([np.array([1.0, 0.0]) - lr * step / corrected, m]))
    ).max()


@pytest.mark.parametrize("beta1", BETA1)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("t", [1, 3, math.inf])
def test_threshold_is_where_the_spectral_radius_passes_one(
    beta1: float, nesterov: bool, t: float
) -> None:
    edge = stability_threshold(beta1, 0.01, t, nesterov)
    inside, outside = (
        radius(beta1, 0.01, edge * factor, nesterov, 1 - beta1**t)
        for factor in (1 - 1e-6, 1 + 1e-6)
    )
    assert inside < 1 < outside


def test_golden_thresholds() -> None:
    for row in golden("stability", "thresholds"):
        assert stability_threshold(row["beta1"]) == pytest.approx(row["bisection_ema"], rel=1e-9)
        assert stability_threshold(row["beta1"], nesterov=True) == pytest.approx(
            row["bisection_nesterov"], rel=1e-9
        )


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_eps_decides_at_a_minimum(beta1: float) -> None:
    """On x^2 c / 2 with v started at 0 the iterate dies out below eps times the threshold; above,
    it comes back.
    """
    lr, eps, beta2 = 1e-3, 1e-3, 0.999
    for factor, settles in ((0.95, True), (1.05, False)):
        c = factor * eps * stability_threshold(beta1, lr)
        x, m, v, path = 1e-9, 0.0, 0.0, []
        for _ in range(6000):
            g = c * x
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            x -= lr * m / (math.sqrt(v) + eps)
            path.append(abs(x))
        assert (max(path[-1000:]) < 1e-10) == settles


def test_golden_curvature() -> None:
    (row,) = json.loads((GOLDEN / "stability.json").read_text())["bai_example"]
    H, g, v_hat = (np.array(row[key]) for key in ("H", "g", "v_hat"))
    top, along = preconditioned_curvature(H, g, v_hat, row["beta1"], row["t"], row["eps"])
    assert top == pytest.approx(row["lambda_max_pre"], rel=1e-12)
    assert along == pytest.approx(row["lambda_grad_pre"], rel=1e-10)
    assert row["threshold"] == 2 / row["eta"]
    assert row["aeos_threshold"] == pytest.approx(
        stability_threshold(row["beta1"], row["eta"]), rel=1e-12
    )


def test_top_curvature_is_the_threshold_said_otherwise() -> None:
    """On any H, top = 2 / lr exactly where the step's whole matrix loses stability."""
    rng = np.random.default_rng(0)
    d, beta1, t, eps = 4, 0.8, 5, 0.1
    A = rng.standard_normal((d, d))
    H, v_hat = A @ A.T, rng.uniform(0.1, 3, d)
    lr = 2 / preconditioned_curvature(H, rng.standard_normal(d), v_hat, beta1, t, eps).top
    m = np.hstack([(1 - beta1) * H, beta1 * np.eye(d)])
    for factor, stable in ((1 - 1e-6, True), (1 + 1e-6, False)):
        step = factor * lr / (1 - beta1**t) / (np.sqrt(v_hat) + eps)
        both = np.vstack([np.hstack([np.eye(d), np.zeros((d, d))]) - step[:, None] * m, m])
        assert (np.abs(np.linalg.eigvals(both)).max() < 1) == stable


@pytest.mark.parametrize(("beta2", "crosses"), [(0.99, 1579), (0.95, 378), (0.9, None)])
def test_a_stale_second_moment_lifts_the_curvature_over_the_edge(
    beta2: float, crosses: int | None
) -> None:
    """Adam on x^2 / 2 at lr = 0.01, no eps to speak of: v decays slower than g^2, until 2 / lr is
    passed.
    """
    x, m, v, first = 1.0, 0.0, 0.0, None
    for t in range(1, 2001):
        m, v = 0.9 * m + 0.1 * x, beta2 * v + (1 - beta2) * x * x
        v_hat = v / (1 - beta2**t)
        if (
            first is None
            and preconditioned_curvature([[1.0]], [x], [v_hat], 0.9, t, 0.0).top > 2 / 0.01
        ):
            first = t
        x -= 0.01 * m / (1 - 0.9**t) / math.sqrt(v_hat)
    assert first == crosses


def test_rms_ratio() -> None:
    (row,) = golden("stability", "rms_example")
    assert rms_ratio(row["g"], row["v"], row["eps"]) == pytest.approx(row["rms_t"], rel=1e-12)
    assert (row["rms_t"] >= 2.3) == row["flag_2p3"]
    g = np.random.default_rng(0).standard_normal((300, 40))
    assert rms_ratio(g, np.ones_like(g)) == pytest.approx(1, abs=0.02)
    assert rms_ratio([1e-3], [0.0], eps=1e-2) == pytest.approx(0.1)


EYE = np.eye(2)
BAD = [
    (lambda: stability_threshold(1.0), "beta1 is out of range: got 1.0"),
    (lambda: stability_threshold(0.9, lr=0), "lr is out of range: got 0.0; expected (0, inf)"),
    (lambda: stability_threshold(0.9, t=0), "t is out of range: got 0.0"),
    (
        lambda: preconditioned_curvature(EYE, [1, 1], [1, 1, 1]),
        "H (2, 2), g (2,) and v_hat (3,) do not fit",
    ),
    (
        lambda: preconditioned_curvature(EYE[:1], [1, 1], [1, 1]),
        "H (1, 2), g (2,) and v_hat (2,) do not fit",
    ),
    (lambda: preconditioned_curvature([[1, 2], [3, 4]], [1, 1], [1, 1]), "H is not symmetric"),
    (lambda: preconditioned_curvature(EYE, [1, 1], [-1, 1]), "v_hat is out of range: got -1.0"),
    (lambda: preconditioned_curvature(EYE, [1, math.nan], [1, 1]), "g is out of range: got nan"),
    (
        lambda: preconditioned_curvature(EYE * math.nan, [1, 1], [1, 1]),
        "H is out of range: got nan",
    ),
    (lambda: preconditioned_curvature(EYE, [0, 0], [1, 1]), "the whole gradient is 0"),
    (lambda: preconditioned_curvature(EYE, [1, 1], [0, 1], eps=0), "sqrt(v_hat) + eps or"),
    (
        lambda: preconditioned_curvature(EYE, [1, 1], [1, 1], beta1=1.5),
        "beta1 is out of range: got 1.5",
    ),
    (lambda: preconditioned_curvature(EYE, [1, 1], [1, 1], t=0.5), "t is out of range: got 0.5"),
    (
        lambda: preconditioned_curvature(EYE, [1, 1], [1, 1], eps=-1),
        "eps is out of range: got -1.0",
    ),
    (lambda: rms_ratio([1, 2], [1]), "g (2,) and v (1,) do not fit"),
    (lambda: rms_ratio([1, 2], [1, -1]), "v is out of range: got -1.0"),
    (lambda: rms_ratio([1], [1], eps=0), "eps is out of range: got 0.0"),
    (lambda: rms_ratio([math.inf], [1]), "g is out of range: got inf"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

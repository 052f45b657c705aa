"""AMSGrad's regret bound against its sums by hand, and against regret as it was met."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, refuses

from betaplane.theory import amsgrad_regret, sign_update_norm, spectral_scale

# ---- regret


def regret(slopes: np.ndarray, lr: float, beta1: float, beta2: float, shrink: float) -> float:
    """AMSGrad on losses s_t x over [-1, 1], as in its paper; the losses met less those of the best
    fixed x.
    """
    x, m, v, v_max, met = 0.0, 0.0, 0.0, 0.0, 0.0
    for t, s in enumerate(slopes, start=1):
        met += s * x
        b = beta1 * shrink ** (t - 1)
        m, v = b * m + (1 - b) * s, beta2 * v + (1 - beta2) * s * s
        v_max = max(v_max, v)
        x = min(1.0, max(-1.0, x - lr / math.sqrt(t) * m / math.sqrt(v_max)))
    return met + abs(slopes.sum())


@pytest.mark.parametrize(("beta1", "beta2"), [(0.0, 0.9), (0.5, 0.99), (0.9, 0.99), (0.9, 0.999)])
@pytest.mark.parametrize("lr", [0.1, 0.5, 2.0])
def test_it_holds_where_adam_fails(beta1: float, beta2: float, lr: float) -> None:
    rng = np.random.default_rng(0)
    for slopes in (np.tile([3.0, -1.0, -1.0], 700), np.where(rng.random(2000) < 0.02, 60.0, -1.0)):
        assert (
            0
            < regret(slopes, lr, beta1, beta2, 0.9)
            < amsgrad_regret(slopes, lr, 2.0, beta1, beta2, 0.9)
        )


def test_the_sums_by_hand() -> None:
    g, lr, D, beta1, beta2, shrink = (
        np.array([[1.0, 0.0], [-3.0, 2.0], [0.5, 1.0]]),
        0.2,
        1.5,
        0.5,
        0.9,
        0.4,
    )
    v_max = np.maximum.accumulate(average(g**2, beta2))
    first = D**2 * math.sqrt(3) / (lr * 0.5) * np.sqrt(v_max[-1]).sum()
    middle = sum(
        D**2 / (2 * 0.5) * beta1 * shrink**k * math.sqrt(k + 1) / lr * np.sqrt(v_max[k]).sum()
        for k in range(3)
    )
    gamma = 0.5 / math.sqrt(0.9)
    last = (
        lr
        * math.sqrt(1 + math.log(3))
        / (0.25 * (1 - gamma) * math.sqrt(0.1))
        * np.linalg.norm(g, axis=0).sum()
    )
    assert amsgrad_regret(g, lr, D, beta1, beta2, shrink) == pytest.approx(
        first + middle + last, rel=1e-12
    )


def test_it_grows_as_the_root_of_the_run() -> None:
    """To a factor sqrt(ln T) for gradients of one size."""
    short, long = (amsgrad_regret(np.ones(T), 0.1, 2.0) for T in (1000, 100_000))
    assert 10 < long / short < 10 * math.sqrt(math.log(100_000) / math.log(1000))


# ---- matrices


@pytest.mark.parametrize("shape", [(8, 8), (30, 5), (4, 64)])
def test_signs_of_rank_one_have_the_largest_norm(shape: tuple[int, int]) -> None:
    rng, bound = np.random.default_rng(0), sign_update_norm(0.1, shape[1], shape[0])
    outer = np.sign(np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1])))
    assert np.linalg.norm(0.1 * outer, 2) == pytest.approx(bound)
    assert np.linalg.norm(0.1 * np.sign(rng.normal(size=shape)), 2) < bound


def test_a_matrix_of_that_norm_keeps_features_of_order_one() -> None:
    rng = np.random.default_rng(0)
    for fan_in, fan_out in ((100, 100), (1000, 100), (100, 1000)):
        W = np.linalg.qr(rng.normal(size=(max(fan_in, fan_out),) * 2))[0][:fan_out, :fan_in]
        x = W.T @ rng.normal(size=fan_out)
        x *= math.sqrt(fan_in) / np.linalg.norm(x)  # order 1 an entry, in the rows' span
        y = spectral_scale(fan_in, fan_out) / np.linalg.norm(W, 2) * W @ x
        assert np.sqrt((y**2).mean()) == pytest.approx(1.0, rel=0.05)


BAD = [
    (lambda: amsgrad_regret([math.nan], 1, 1), "g is out of range: got nan"),
    (lambda: amsgrad_regret([1.0], 0, 1), "lr is out of range: got 0.0"),
    (lambda: amsgrad_regret([1.0], 1, -1), "diameter is out of range: got -1.0"),
    (lambda: amsgrad_regret([1.0], 1, 1, beta1=1.0), "beta1 is out of range: got 1.0"),
    (lambda: amsgrad_regret([1.0], 1, 1, beta2=1.0), "beta2 is out of range: got 1.0"),
    (lambda: amsgrad_regret([1.0], 1, 1, shrink=1.0), "shrink is out of range: got 1.0"),
    (
        lambda: amsgrad_regret([1.0], 1, 1, beta1=0.95, beta2=0.9),
        "beta1 is not below sqrt(beta2): got 0.95; expected",
    ),
    (lambda: amsgrad_regret(1.0, 1, 1), "These are no gradients: got ()"),
    (lambda: spectral_scale(0, 1), "fan_in is out of range: got 0.0"),
    (lambda: sign_update_norm(1, 1, -1), "fan_out is out of range: got -1.0"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

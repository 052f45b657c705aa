"""Rules for another batch size against published numbers, and against Adam in noise at both sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import golden, refuses

from betaplane.theory import (
    adam_lr,
    beta_rules_gap,
    half_life,
    same_half_life,
    sgd_lr,
    sign_lr,
    square_root_scaling,
    surge_batch,
)

# ---- betas


def test_printed_betas() -> None:
    assert same_half_life(0.95, 1 / 512) == pytest.approx(0.99989982, abs=5e-9)
    assert same_half_life(0.95, 1 / 16) == pytest.approx(0.996799, abs=5e-7)
    assert square_root_scaling(1 / 512, 1e-3, 0.9, 0.95).beta2 == pytest.approx(
        0.99990234, abs=5e-9
    )
    assert square_root_scaling(1 / 16, 1e-3, 0.9, 0.95).beta2 == pytest.approx(0.996875, abs=5e-7)


def test_half_life_in_samples_is_kept() -> None:
    beta, factor = np.array([0.5, 0.95, 0.999])[:, None], np.array([1 / 512, 0.5, 3.0])
    assert np.allclose(half_life(same_half_life(beta, factor), per_step=factor), half_life(beta))
    assert np.allclose(same_half_life(same_half_life(beta, factor), 1 / factor), beta)


def test_the_rules_agree_to_first_order() -> None:
    for q in (1e-2, 1e-3, 1e-4):
        assert abs(beta_rules_gap(1 - q, [0.001, 0.5, 2.0])).max() < 0.6 * q
    beta, factor = np.array([0.9, 0.95, 0.999])[:, None], np.array([0.01, 0.5, 1.0, 4.0])
    scaled = square_root_scaling(factor, 1e-3, beta, beta)
    assert np.allclose(
        (1 - scaled.beta2) / (1 - same_half_life(beta, factor)) - 1, beta_rules_gap(beta, factor)
    )
    assert np.array_equal(scaled.beta1, scaled.beta2)
    assert square_root_scaling(32, 1e-3, 0.9, 0.95).beta1 < 0


def walk(
    lr: float, beta1: float, beta2: float, eps: float, noise: float, steps: int, lag: int
) -> tuple[float, float]:
    """The spread of Adam's iterates on x^2 / 2 with gradient noise, and their correlation after
    `lag` steps.
    """
    rng = np.random.default_rng(0)
    x, m, v, earlier = np.zeros(4000), np.zeros(4000), np.full(4000, noise**2), np.zeros(4000)
    for t in range(steps):
        g = x + noise * rng.standard_normal(4000)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        x = x - lr * m / (np.sqrt(v) + eps)
        earlier = x if t == steps - 1 - lag else earlier
    return float(x.std()), float(np.corrcoef(earlier, x)[0, 1])


def test_square_root_rule_keeps_the_walk() -> None:
    """Four times the batch: half the noise, a quarter of the steps, the same motion; without the
    rule, another.
    """
    old = {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1.0}
    before = walk(**old, noise=1.0, steps=800, lag=80)
    after = walk(**square_root_scaling(4, **old)._asdict(), noise=0.5, steps=200, lag=20)
    assert after == pytest.approx(before, rel=0.08)
    unscaled = walk(**old, noise=0.5, steps=200, lag=20)
    assert unscaled[0] < 0.8 * before[0]


# ---- learning rates


def test_golden_surge() -> None:
    for row in golden("statistics_and_memory", "surge"):
        expected = math.inf if row["batch_over_Bsimple"] is None else row["batch_over_Bsimple"]
        assert surge_batch(row["beta1"]) == pytest.approx(expected, rel=1e-12)
        if math.isfinite(expected):
            b = 1 / math.sqrt(1 + 1 / expected)
            assert b == pytest.approx(row["beta_star"], rel=1e-12)


@pytest.mark.parametrize("beta1", [0.5, 0.9])
def test_best_lr_of_adam_by_sampling(beta1: float) -> None:
    """On a diagonal quadratic the best lr is E[u] mu / (h E[u^2]); u sampled, beta2 near 1."""
    rng = np.random.default_rng(0)
    batches = np.array([0.05, 0.3, 2.0, 30.0])  # over the noise scale
    best = []
    for batch in batches:
        m, v = np.zeros(20_000), np.full(20_000, 1 + 1 / batch)
        for _ in range(100):
            g = 1 + rng.standard_normal(20_000) / math.sqrt(batch)
            m, v = beta1 * m + (1 - beta1) * g, 0.999 * v + 0.001 * g * g
        u = m / np.sqrt(v)
        best.append(u.mean() / (u * u).mean())
    formula = adam_lr(batches, 1.0, beta1)
    assert np.allclose(np.array(best) / best[-1], formula / formula[-1], rtol=0.04)


@pytest.mark.parametrize("beta1", [0.2, 0.5, 0.9])
def test_largest_lr_is_where_the_surge_is(beta1: float) -> None:
    batch = np.geomspace(1e-3, 1e6, 200_001)
    lr = adam_lr(batch, 1.0, beta1)
    assert lr.max() == pytest.approx(1, abs=1e-6)
    top = batch[lr.argmax()]
    assert top == pytest.approx(min(surge_batch(beta1), batch[-1]), rel=1e-3)
    assert adam_lr(1e-8, 1.0, beta1) / adam_lr(1e-10, 1.0, beta1) == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_best_lr_of_sgd_by_sampling(beta1: float) -> None:
    rng = np.random.default_rng(1)
    m = np.zeros(20_000)
    for _ in range(100):
        m = beta1 * m + (1 - beta1) * (1 + rng.standard_normal(20_000) / math.sqrt(0.05))
    assert 1 / (m * m).mean() == pytest.approx(sgd_lr(5.0, 100.0, beta1), rel=0.05)


def test_sign_lr_is_symmetric_about_the_noise_scale() -> None:
    assert sign_lr(100, 100) == 1
    assert sign_lr([1, 25], 5)[0] == pytest.approx(sign_lr(25, 5))
    assert sign_lr(4e-6, 1) / sign_lr(1e-6, 1) == pytest.approx(2, rel=1e-4)


BAD = [
    (lambda: same_half_life(1.0, 2), "beta is out of range: got 1.0"),
    (lambda: same_half_life(0.9, 0), "factor is out of range: got 0.0; expected (0, inf)"),
    (lambda: square_root_scaling(-1, 1e-3, 0.9, 0.99), "factor is out of range: got -1.0"),
    (lambda: square_root_scaling(2, 0, 0.9, 0.99), "lr is out of range: got 0.0"),
    (lambda: square_root_scaling(2, 1e-3, 1.0, 0.99), "beta1 is out of range: got 1.0"),
    (lambda: square_root_scaling(2, 1e-3, 0.9, math.nan), "beta2 is out of range: got nan"),
    (lambda: square_root_scaling(2, 1e-3, 0.9, 0.99, eps=-1), "eps is out of range: got -1.0"),
    (lambda: beta_rules_gap(0.0, 2), "beta is out of range: got 0.0; expected (0, 1)"),
    (lambda: beta_rules_gap(0.9, math.inf), "factor is out of range: got inf"),
    (lambda: sgd_lr(0, 1), "batch is out of range: got 0.0"),
    (lambda: sgd_lr(1, 0), "noise_scale is out of range: got 0.0"),
    (lambda: sgd_lr(1, 1, beta1=1), "beta1 is out of range: got 1.0"),
    (lambda: adam_lr(-1, 1), "batch is out of range: got -1.0"),
    (lambda: adam_lr(1, -1), "noise_scale is out of range: got -1.0"),
    (lambda: adam_lr(1, 1, beta1=-0.1), "beta1 is out of range: got -0.1"),
    (lambda: surge_batch(1.0), "beta1 is out of range: got 1.0"),
    (lambda: sign_lr(0, 1), "batch is out of range: got 0.0"),
    (lambda: sign_lr(1, math.nan), "noise_scale is out of range: got nan"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

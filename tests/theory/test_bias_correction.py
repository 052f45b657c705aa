"""Bias correction against golden numbers, the corrected recursion, and sums of weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, golden, refuses

from betaplane.theory import (
    adafactor_beta2,
    correction,
    debiased_beta,
    influence,
    steps_until_corrected,
)


def test_golden_schedule() -> None:
    for row in golden("bias_correction_as_schedule", "beta_hat"):
        beta, t = row["beta"], row["t"]
        assert debiased_beta(beta, t) == pytest.approx(row["beta_hat"], rel=1e-13)
        assert correction(beta, t) == pytest.approx(row["correction"], rel=1e-13)
        assert math.sqrt(correction(beta, t)) == pytest.approx(row["sqrt_correction"], rel=1e-13)
    for row in golden("bias_correction_as_schedule", "influence"):
        assert influence(row["beta1"], row["i"]) == pytest.approx(row["corrected"], rel=1e-9)
    for row in golden("bias_correction_as_schedule", "adafactor_beta2"):
        assert adafactor_beta2(row["t"]) == pytest.approx(row["beta2_t"], rel=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.9999])
def test_scheduled_average_is_the_corrected_one(beta: float) -> None:
    g = np.random.default_rng(0).standard_normal(300)
    m_hat, path = 0.0, []
    for t, value in enumerate(g, 1):
        decay = debiased_beta(beta, t)
        m_hat = decay * m_hat + (1 - decay) * value
        path.append(m_hat)
    assert np.allclose(
        path, average(g, beta) * correction(beta, np.arange(1, 301)), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("i", [1, 2, 17])
def test_influence_is_the_sum_of_a_gradients_weights(beta: float, i: int) -> None:
    steps = i + math.ceil(45 / (1 - beta))
    g = np.zeros(steps)
    g[i - 1] = 1.0
    weights = average(g, beta)
    assert influence(beta, i) == pytest.approx(
        (weights * correction(beta, np.arange(1, steps + 1))).sum(), rel=1e-9
    )
    assert weights.sum() == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("root", [False, True])
def test_steps_until_corrected(beta: float, root: bool) -> None:
    t = steps_until_corrected(beta, within=0.03, root=root)
    factor = correction(beta, np.array([t - 0.1, t + 0.1])) ** (0.5 if root else 1)
    assert factor[0] > 1.03 > factor[1]
    assert steps_until_corrected(0.0) == 0


def test_arrays_broadcast() -> None:
    assert debiased_beta([[0.9], [0.99]], [1, 2, 3]).shape == (2, 3)
    assert steps_until_corrected([0.9, 0.0, 0.999]).shape == (3,)
    assert type(correction(0.9, 3)) is type(adafactor_beta2(4)) is float


BAD = [
    (lambda: correction(1.0, 5), "beta is out of range: got 1.0; expected [0, 1) (correction"),
    (lambda: correction(0.9, 0), "t is out of range: got 0.0; expected [1, inf)"),
    (lambda: debiased_beta(-1, 5), "beta is out of range: got -1.0"),
    (lambda: debiased_beta(0.9, math.inf), "t is out of range: got inf"),
    (lambda: adafactor_beta2(0.5), "t is out of range: got 0.5"),
    (lambda: adafactor_beta2(5, power=0), "power is out of range: got 0.0; expected (0, inf)"),
    (lambda: influence(1.5, 1), "beta is out of range: got 1.5"),
    (lambda: influence(0.9, 0), "i is out of range: got 0.0"),
    (lambda: steps_until_corrected(math.nan), "beta is out of range: got nan"),
    (lambda: steps_until_corrected(0.9, within=0.0), "within is out of range: got 0.0"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

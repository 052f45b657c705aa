"""Horizons and half-lives against the weights of a running average, and the betas of a published
sweep.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory_checks import average, refuses

from betaplane.theory import (
    adafactor_beta2,
    beta_from_half_life,
    beta_from_horizon,
    half_life,
    memory_horizon,
    same_half_life,
)

BETAS = np.array([0.0, 0.5, 0.9, 0.999, 0.99999])


def test_they_invert() -> None:
    assert np.allclose(beta_from_horizon(memory_horizon(BETAS)), BETAS, rtol=0, atol=1e-12)
    assert np.allclose(beta_from_half_life(half_life(BETAS)), BETAS, rtol=0, atol=1e-12)
    assert np.allclose(
        beta_from_horizon(memory_horizon(BETAS, 4096), 4096), BETAS, rtol=0, atol=1e-12
    )
    assert np.allclose(beta_from_half_life(half_life(BETAS, 4096), 4096), BETAS, rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_against_the_weights_of_an_average(beta: float) -> None:
    g = np.zeros(6000)
    g[0] = 1.0
    weights = average(g, beta)
    assert weights.sum() / weights[0] == pytest.approx(memory_horizon(beta), rel=1e-9)
    steps = np.arange(6000)
    halved = np.interp(-math.log(0.5 * weights[0]), -np.log(weights + 1e-300), steps)
    assert halved == pytest.approx(half_life(beta), rel=1e-6)


def test_betas_of_the_small_batch_sweep() -> None:
    """Marek et al. 2025: half-life 10M tokens, sequences of 512."""
    batch = np.array([16, 32, 64, 128, 256, 512, 1024])
    printed = [0.99943, 0.99886, 0.99773, 0.99547, 0.99096, 0.98199, 0.96431]
    assert np.allclose(beta_from_half_life(10e6, batch * 512), printed, rtol=0, atol=5.1e-6)


def test_units() -> None:
    assert half_life(0.9, 512) == pytest.approx(512 * half_life(0.9))
    assert memory_horizon(0.0, 512) == 512
    assert half_life(0.0) == beta_from_half_life(0.0) == 0.0
    assert memory_horizon([[0.9], [0.99]], [1, 16, 256]).shape == (2, 3)
    assert type(half_life(0.9)) is type(beta_from_horizon(10)) is float


def test_the_longest_memory_there_is_stays_below_1() -> None:
    found = (
        beta_from_half_life(1e20),
        beta_from_horizon(1e17),
        same_half_life(0.9, 1e-20),
        adafactor_beta2(1e30),
    )
    assert all(0.999999 < beta < 1 for beta in found)


FEWER = "horizon / per_step is out of range: got 0.1953125; expected [1, inf) (beta_from_horizon). Try: "
BAD = [
    (
        lambda: memory_horizon([0.9, 1.0]),
        "beta is out of range: got 1.0; expected [0, 1) (memory_horizon",
    ),
    (lambda: memory_horizon(0.9, 0), "per_step is out of range: got 0.0; expected (0, inf)"),
    (lambda: half_life(-0.5), "beta is out of range: got -0.5"),
    (lambda: half_life(0.9, -1), "per_step is out of range: got -1.0"),
    (lambda: beta_from_horizon(100, per_step=512), f"{FEWER}horizon=5120"),
    (lambda: beta_from_horizon(math.nan), "horizon is out of range: got nan"),
    (lambda: beta_from_horizon(10, 0), "per_step is out of range: got 0.0"),
    (
        lambda: beta_from_half_life(math.inf),
        "half_life is out of range: got inf; expected [0, inf)",
    ),
    (lambda: beta_from_half_life(1.0, math.inf), "per_step is out of range: got inf"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

"""Warmups against golden numbers, sums over their steps, and the variance RAdam's rectification is
made to keep.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from theory_checks import average, golden, refuses

from betaplane.rules import Adam, AdamD
from betaplane.theory import (
    adamd_warmup,
    exponential_warmup,
    linear_warmup,
    linear_warmup_steps,
    radam_length,
    radam_start,
    radam_warmup,
)


def test_golden_warmups() -> None:
    for row in golden("warmup", "rows"):
        t, beta2 = row["t"], row["beta2"]
        assert exponential_warmup(t, beta2) == pytest.approx(row["exponential"], rel=1e-12)
        assert linear_warmup(t, beta2) == pytest.approx(row["linear"], rel=1e-12)
        assert radam_length(t, beta2) == pytest.approx(row["rho_t"], rel=1e-9)
        assert radam_length(math.inf, beta2) == pytest.approx(row["rho_inf"], rel=1e-12)
        expected = math.nan if row["radam_r"] is None else row["radam_r"]
        assert radam_warmup(t, beta2) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    for row in golden("warmup", "radam_thresholds"):
        assert radam_start(row["beta2"], above=4) == row["first_t_rho_gt_4"]
        assert radam_start(row["beta2"]) == row["first_t_rho_gt_5"]
        assert linear_warmup_steps(row["beta2"]) == pytest.approx(
            row["linear_warmup_steps"], rel=1e-12
        )


@pytest.mark.parametrize("beta2", [0.95, 0.99, 0.999])
def test_both_untuned_warmups_lose_as_many_steps(beta2: float) -> None:
    t = np.arange(1, round(60 / (1 - beta2)))
    horizon = 1 / (1 - beta2)
    for warmup in (linear_warmup, exponential_warmup):
        assert (1 - warmup(t, beta2)).sum() == pytest.approx(horizon - 0.5, abs=0.02)
    assert linear_warmup(linear_warmup_steps(beta2), beta2) == pytest.approx(1)


@pytest.mark.parametrize("beta2", [0.0, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("t", [1, 2, 9, 400])
def test_length_of_the_plain_average_of_the_same_age(beta2: float, t: int) -> None:
    """A plain average over rho samples has mean age (rho + 1) / 2, the newest having age 1."""
    weights = average(np.eye(t), beta2)[-1]
    age = (weights * np.arange(t, 0, -1)).sum() / weights.sum()
    assert radam_length(t, beta2) == pytest.approx(2 * age - 1, rel=1e-8)


def expanded_variance(rho: float) -> float:
    """Var[psi^2] / (4 E[psi^2]) for psi^2 = rho / chi^2_rho, by quadrature over chi^2 = e^s."""
    s = np.linspace(-12, math.log(rho) + 6, 400_001)
    log_density = rho / 2 * s - np.exp(s) / 2
    weights = np.exp(log_density - log_density.max())
    psi2 = rho * np.exp(-s)
    first, second = ((weights * psi2**p).sum() / weights.sum() for p in (1, 2))
    return (second - first**2) / (4 * first)


@pytest.mark.parametrize(("t", "beta2"), [(9, 0.9), (20, 0.99), (200, 0.99), (12, 0.8)])
def test_rectification_keeps_the_variance(t: int, beta2: float) -> None:
    settled, now = (expanded_variance(radam_length(step, beta2)) for step in (math.inf, t))
    assert radam_warmup(t, beta2) == pytest.approx(math.sqrt(settled / now), rel=1e-4)


def test_first_adaptive_step() -> None:
    for beta2 in (0.61, 0.7, 0.8, 0.95):
        start = radam_start(beta2, above=4)
        assert np.isnan(radam_warmup(np.arange(1, start), beta2)).all()
        assert (radam_warmup(np.arange(start, 300), beta2) > 0).all()


def test_adamd_is_adam_with_a_warmup() -> None:
    """The two rules on the same gradients, step by step."""
    g = torch.from_numpy(np.random.default_rng(0).standard_normal((30, 5)))
    moved = []
    for rule in (AdamD(eps=0.0), Adam(eps=0.0)):
        x = torch.zeros(5, dtype=torch.float64)
        s, path = rule.init(x), [x]
        for row in g:
            x, s = rule.step(x, row, s, lr=1.0)
            path.append(x)
        moved.append(np.diff(torch.stack(path).numpy(), axis=0))
    assert np.allclose(moved[0], moved[1] * adamd_warmup(np.arange(1, 31), 0.9)[:, None], rtol=1e-9)


@pytest.mark.parametrize("q", [0.3, 0.1, 1e-2, 1e-3, 1e-6, 1e-9, 1e-12])
def test_radam_length_against_exact_arithmetic(q: float) -> None:
    """On both sides of where its two forms meet."""
    b = Fraction(1 - q)
    for t in (1, 2, 5, 6, 30, 100):
        power = b**t
        exact = 2 / (1 - b) - 1 - 2 * t * power / (1 - power)
        assert radam_length(t, 1 - q) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("q", [1e-3, 1e-6, 1e-8, 1e-12, 1e-16])
def test_radam_starts_alike_however_long_the_memory(q: float) -> None:
    assert (radam_start(1 - q), radam_start(1 - q, above=4)) == (6, 5)
    assert math.isnan(radam_warmup(4, 1 - q))


BAD = [
    (lambda: linear_warmup_steps(1.0), "beta2 is out of range: got 1.0"),
    (lambda: linear_warmup(0, 0.9), "t is out of range: got 0.0"),
    (lambda: linear_warmup(1, -0.9), "beta2 is out of range: got -0.9"),
    (lambda: exponential_warmup(math.nan, 0.9), "t is out of range: got nan"),
    (lambda: exponential_warmup(1, 2), "beta2 is out of range: got 2.0"),
    (lambda: adamd_warmup(0.5, 0.9), "t is out of range: got 0.5"),
    (lambda: adamd_warmup(1, 1.0), "beta1 is out of range: got 1.0"),
    (lambda: radam_length(0, 0.9), "t is out of range: got 0.0; expected [1, inf]"),
    (lambda: radam_length(1, 1.0), "beta2 is out of range: got 1.0"),
    (lambda: radam_warmup(0, 0.9), "t is out of range: got 0.0"),
    (lambda: radam_warmup(5, 0.5), "beta2 is out of range: got 0.5; expected (0.6, 1)"),
    (lambda: radam_start(0.6), "beta2 is out of range: got 0.6"),
    (lambda: radam_start(0.9, above=3), "above is out of range: got 3.0"),
    (lambda: radam_start(0.75, above=7), "above is out of range: got 7.0; expected [4, 7.0)"),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    refuses(call, text)

"""Quantities against worked numbers, closed forms and simulation."""

from __future__ import annotations

import math

import pytest
import torch

from betaplane.monitor.capture.sampling import strided, touched_rows
from betaplane.monitor.quantities import formulas as q
from betaplane.theory import (
    extremal_gradients,
    rms_ratio,
    second_moment_spread,
    update_bound,
    update_rms,
)


def moments(g: torch.Tensor, beta1: float, beta2: float) -> tuple[torch.Tensor, torch.Tensor]:
    m, v = torch.zeros_like(g[0]), torch.zeros_like(g[0])
    for each in g:
        m, v = beta1 * m + (1 - beta1) * each, beta2 * v + (1 - beta2) * each.square()
    return m, v


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.95), (0.5, 0.9)])
@pytest.mark.parametrize("t", [1, 7, 60])
def test_extremal_history_reaches_the_bound(betas: tuple[float, float], t: int):
    g = torch.from_numpy(extremal_gradients(*betas, t))[:, None]
    found = q.max_ratio(*q.debias(*moments(g, *betas), t, *betas))
    assert found == pytest.approx(update_bound(*betas, t), rel=1e-9)


def test_rms_ratio_equals_theory():
    g, v = torch.tensor([3.0, -1.0, 0.5, 0.0]), torch.tensor([1.0, 0.25, 1e-20, 0.0])
    assert q.rms_ratio(g, v.sqrt(), 1e-8) == pytest.approx(
        rms_ratio(g.numpy(), v.numpy(), 1e-8), rel=1e-5
    )


def test_signal_to_noise_of_noise_and_of_a_constant_gradient():
    noise = torch.randn(3000, 2000, generator=torch.Generator().manual_seed(0))
    m_hat, root = q.debias(*moments(noise, 0.9, 0.999), 3000, 0.9, 0.999)
    size = q.rms(q.update(m_hat, root, 0.0))
    assert size == pytest.approx(update_rms(0.9), rel=0.05)
    assert q.signal_to_noise(size, 0.9) < 0.01
    assert q.sign_agreement(m_hat, noise[-1]) == pytest.approx(
        0.5 + math.asin((0.1 / 1.9) ** 0.5 * 1.9) / math.pi, abs=0.05
    )


@pytest.mark.parametrize("beta2", [0.9, 0.99])
def test_variation_of_a_root_is_half_that_of_v(beta2: float):
    g = torch.randn(20_000, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v, roots = torch.ones(40, dtype=torch.float64), []
    for each in g:
        v = beta2 * v + (1 - beta2) * each.square()
        roots.append(v.sqrt())
    assert q.variation(torch.stack(roots), beta2) == pytest.approx(
        second_moment_spread(beta2) / 2, rel=0.1
    )


def test_trend_does_not_count_as_variation():
    falling = torch.logspace(0, -1, 64)[:, None]
    assert q.variation(falling, 0.95) < 0.15 < falling.std() / falling.mean()


def test_angle_of_a_quarter_turn():
    x = torch.tensor([1.0, 0.0])
    assert q.angle(x, torch.tensor([-1.0, 1.0])) == pytest.approx(math.pi / 2)
    assert q.angle(0 * x, x) == 0.0


def test_samples_cover_all_columns():
    x = torch.arange(64.0 * 64).view(64, 64)
    seen = strided(x, 100)
    assert len(seen) <= 100
    assert len({int(value) % 64 for value in seen}) > 40
    assert seen.data_ptr() == x.data_ptr()


def test_vectors_have_no_rows():
    assert touched_rows(torch.ones(5)) is None
    assert touched_rows(torch.eye(1000)[:, :500]).sum() == 125


def test_quantities_of_empty_tensors_are_finite():
    empty = torch.zeros(0)
    assert (
        q.rms(empty),
        q.max_abs(empty),
        q.share_underflowed(empty, empty),
        q.share_below_eps(empty, empty, 1.0),
    ) == (0, 0, 0, 0)

"""Adam on |x|^k / k, simulated in float64 on both sides of the critical beta2."""

from __future__ import annotations

import math

import pytest

from betaplane.theory import degenerate_critical_beta2, degenerate_ratio


def last_ratios(beta1: float, beta2: float, k: int, steps: int = 400) -> list[float]:
    """x_{t+1} / x_t of the last 20 steps of Adam without bias correction, at eps = 0."""
    x, m, v, path = 1.0, 0.0, 0.0, []
    for _ in range(steps):
        g = x * abs(x) ** (k - 2)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        if v < 1e-300:
            break
        x -= 0.05 * m / math.sqrt(v)
        path.append(x)
    return [b / a for a, b in zip(path[-21:], path[-20:], strict=False)]


@pytest.mark.parametrize("k", [4, 6])
@pytest.mark.parametrize("beta1", [0.0, 0.3, 0.5, 0.7, 0.85])
def test_ratio_settles_above_the_critical_beta2_only(beta1: float, k: int) -> None:
    critical = degenerate_critical_beta2(beta1, degree=k)
    below, above = 0.9 * critical, min(1.4 * critical, (1 + critical) / 2)
    rho = degenerate_ratio(above, degree=k)
    assert last_ratios(beta1, above, k) == pytest.approx([rho] * 20, rel=1e-3)
    far = [
        abs(ratio / degenerate_ratio(below, degree=k) - 1) for ratio in last_ratios(beta1, below, k)
    ]
    assert max(far) > 0.1


def test_published_ratio_and_boundary() -> None:
    assert degenerate_ratio(0.93, degree=4) == pytest.approx(0.982020914, abs=5e-10)
    for k in (4, 6, 8):
        critical = degenerate_critical_beta2(0.9, degree=k)
        assert critical ** (k / (2 * (k - 2))) == pytest.approx(0.9, rel=1e-12)
        assert degenerate_critical_beta2(0.0, degree=k) == pytest.approx(
            ((k - 2) / k) ** (2 * (k - 2)), rel=1e-12
        )

"""The norm of gradients against float64, at every magnitude their dtype can have."""

from __future__ import annotations

import math

import pytest
import torch

import betaplane
from betaplane.optim.gradient_norm import gradient_norm

LIMITS = {
    torch.float16: (1e-4, 6e4),
    torch.bfloat16: (1e-30, 1e38),
    torch.float32: (1e-35, 3e38),
    torch.float64: (1e-300, 1e300),
    torch.complex64: (1e-35, 1e38),
    torch.complex128: (1e-300, 1e300),
}
SIZES = [1.0, 1e-300, 1e-160, 1e-35, 1e-24, 1e-12, 1e-4, 6e4, 1e20, 1e25, 1e38, 1e160, 1e300]
CASES = [
    (dtype, size) for dtype, (low, high) in LIMITS.items() for size in SIZES if low <= size <= high
]


@pytest.mark.parametrize(("dtype", "size"), CASES)
@pytest.mark.parametrize("count", [1, 70_000])
def test_norm_is_right_at_every_magnitude(dtype: torch.dtype, size: float, count: int) -> None:
    g = torch.full((count,), size, dtype=torch.float64).to(dtype)
    right = abs(g[0].item()) * math.sqrt(count)
    assert gradient_norm([g]) == pytest.approx(right, rel=1e-3 if dtype == torch.float16 else 1e-5)


@pytest.mark.parametrize("path", ["eager", "compiled"])
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e30), (torch.float32, 1e-30), (torch.float64, 1e200)]
)
def test_huge_and_tiny_gradients_are_scaled_to_max_norm(
    path: str, dtype: torch.dtype, size: float
) -> None:
    p = torch.nn.Parameter(torch.zeros(16, dtype=dtype))
    longest = min(1.0, size)
    optimizer = betaplane.SGD([p], lr=1.0, max_norm=longest, path=path)
    p.grad = torch.full_like(p, size)
    optimizer.step()
    assert optimizer.norms is not None
    assert optimizer.norms.gradient == pytest.approx(4 * size)
    scale = longest / (4 * size + 1e-6)  # as torch's clip_grad_norm_, which has the same 1e-6
    assert -p.detach()[0].item() == pytest.approx(size * min(1.0, scale), rel=1e-5)


def test_huge_gradients_among_others_do_not_hide_them() -> None:
    assert gradient_norm(
        [torch.tensor([3e25]), torch.tensor([4e25]), torch.ones(5)]
    ) == pytest.approx(5e25)
    assert gradient_norm(
        [torch.tensor([3e200], dtype=torch.float64), torch.tensor([4e20])]
    ) == pytest.approx(3e200)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_norm_of_nonfinite_gradients_is_as_torchs(value: float) -> None:
    gradients = [torch.tensor([1.0, value]), torch.ones(2)]
    assert str(gradient_norm(gradients)) == str(torch.nn.utils.get_total_norm(gradients).item())


def test_norm_of_zeros_and_of_nothing_is_zero() -> None:
    assert (
        gradient_norm([torch.zeros(3)]) == gradient_norm([torch.zeros(0)]) == gradient_norm([]) == 0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_max_norm_takes_half_precision(dtype: torch.dtype) -> None:
    p = torch.nn.Parameter(torch.zeros(5000, dtype=dtype))
    optimizer = betaplane.SGD([p], lr=1.0, max_norm=1.0)
    p.grad = torch.full_like(p, 100.0)
    optimizer.step()
    torch.testing.assert_close(
        p.detach(), torch.full_like(p, -(5000**-0.5)).detach(), rtol=1e-2, atol=0
    )

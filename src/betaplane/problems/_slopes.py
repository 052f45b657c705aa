"""Parts of the problems in one unknown x: an example is the slope (or curvature) of one loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from betaplane.theory.boundary import critical_beta2

# Largest eps, relative to the smallest slope, for which `cyclic_boundary` holds: sqrt(v) is larger
RELATIVE_EPS = 1e-4


class Point(nn.Module):
    """One parameter x of shape (1,); forward(s) = s x, for slopes s of shape (B,)."""

    def __init__(self, start: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([start], dtype=dtype))

    def forward(self, s: Tensor) -> Tensor:
        return s * self.x


def mean_output(output: Tensor, target: Tensor) -> Tensor:
    """The mean of losses that the module itself computed; the targets are not used."""
    del target
    return output.mean()


def line_gradient(
    parameters: Mapping[str, Tensor], s: Tensor, target: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient and loss of the mean of s x."""
    del target
    x, slope = parameters["x"], s.mean()
    return {"x": slope.expand_as(x)}, (slope * x).sum()


def cyclic_boundary(beta1: float, *, n: int, a: float) -> float:
    """Critical beta2 of one slope 1 + (n-1) a and n - 1 slopes -a in cyclic order.

    It is nan if nothing diverges.
    """
    return critical_beta2(beta1, n, a)

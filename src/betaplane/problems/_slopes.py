"""Problems in one unknown x whose examples are numbers: the slope (or curvature) each loss has."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Point(nn.Module):
    """One parameter x of shape (1,); forward(s) = s x, for slopes s of shape (B,)."""

    def __init__(self, start: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([start], dtype=dtype))

    def forward(self, s: Tensor) -> Tensor:
        return s * self.x


def mean_output(output: Tensor, target: Tensor) -> Tensor:
    """The loss of a module that computes the losses itself; the targets are not used."""
    del target
    return output.mean()


def line_gradient(parameters: Mapping[str, Tensor], s: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient and loss of the mean of s x."""
    del target
    x, slope = parameters["x"], s.mean()
    return {"x": slope.expand_as(x)}, (slope * x).sum()

"""The norm of all gradients together, at any magnitude that they can have."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from betaplane.optim.codegen.build import NoCompiler, squares
from betaplane.optim.codegen.c_source import WORD
from betaplane.optim.dispatch import BROKEN, broken
from betaplane.tensors.dtensor import sum_elements

# squares of float64 numbers neither overflow nor vanish once these are scaled by 2^-600 or 2^600
POWER = 600


def norm(gradients: list[Tensor]) -> float:
    """The norm of all gradients together, of their parts on all processes.

    Where the sum of squares overflows or is so small that terms may have vanished, it is computed again in float64, and
    where that is not enough, of scaled gradients.

    Args:
        gradients: on every process the same, in the same order.

    Example:
        >>> large, small = torch.tensor([3e30, 4e30]), torch.tensor([3e-30, 4e-30])
        >>> round(norm([large]) / 1e30, 6), round(norm([small]) / 1e-30, 6)
        (5.0, 5.0)
    """
    squared, scale = sum_elements(gradients, _squares), 1.0
    if not _holds(squared, 1e-20):
        squared = sum_elements(gradients, _squares64)
    if not _holds(squared, 1e-280):
        scale = 2.0 ** (-POWER if squared > 1 else POWER)
        squared = sum_elements(gradients, partial(_squares64, scale=scale))
    return squared**0.5 / scale


def _holds(squared: float, least: float) -> bool:
    """Whether a sum of squares can be relied on, as nan can."""
    return least <= squared < float("inf") or squared != squared


def _squares(gradients: list[Tensor]) -> float:
    """The sum of the squares of all elements, as quickly as it can be had."""
    gradients = _real(gradients)
    if not BROKEN and all(map(_is_plain, gradients)):
        try:
            return squares(gradients)
        except NoCompiler as error:
            broken(str(error))
    return float(torch.nn.utils.get_total_norm(gradients)) ** 2


def _squares64(gradients: list[Tensor], scale: float = 1.0) -> float:
    """The sum of the squares of all elements times scale, in float64."""
    # which has no float64
    host = [g.cpu() if g.device.type == "mps" else g for g in _real(gradients)]
    return sum(float((g.double() * scale).square().sum()) for g in host)


def _real(gradients: list[Tensor]) -> list[Tensor]:
    return [torch.view_as_real(g) if g.is_complex() else g for g in gradients]


def _is_plain(g: Tensor) -> bool:
    """Whether machine code can read g."""
    return (
        type(g) is Tensor
        and g.device.type == "cpu"
        and g.layout is torch.strided
        and g.dtype in WORD
    )

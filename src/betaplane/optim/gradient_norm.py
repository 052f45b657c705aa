"""The norm of all gradients together, at every magnitude."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from betaplane.optim.codegen.availability import COMPILE_FAILURES, record_failure
from betaplane.optim.codegen.build import NoCompiler
from betaplane.optim.codegen.c_formats import C_TYPES
from betaplane.optim.codegen.compiled_step import sum_of_squares
from betaplane.tensors.dtensor import sum_elements

SCALE_EXPONENT = (
    600  # squares of float64 elements times 2^-600 or 2^600 neither overflow nor underflow
)


def gradient_norm(gradients: list[Tensor]) -> float:
    """The norm of all gradients together, including the shards of other ranks.

    If the sum of squares overflows, or is so small that terms may have underflowed, it is computed again in float64;
    and if that is not enough, from scaled gradients.

    Args:
        gradients: the same on every rank, in the same order.

    Example:
        >>> large, small = torch.tensor([3e30, 4e30]), torch.tensor([3e-30, 4e-30])
        >>> round(gradient_norm([large]) / 1e30, 6), round(gradient_norm([small]) / 1e-30, 6)
        (5.0, 5.0)
    """
    squared = sum_elements(gradients, _squares)
    scale = 1.0
    if not _is_reliable(squared, 1e-20):
        squared = sum_elements(gradients, _squares64)
    if not _is_reliable(squared, 1e-280):
        scale = 2.0 ** (-SCALE_EXPONENT if squared > 1 else SCALE_EXPONENT)
        squared = sum_elements(gradients, partial(_squares64, scale=scale))
    return squared**0.5 / scale


def _is_reliable(squared: float, least: float) -> bool:
    """Whether a sum of squares is accurate; nan is."""
    return least <= squared < float("inf") or squared != squared


def _squares(gradients: list[Tensor]) -> float:
    """The sum of the squares of all elements, by the fastest way."""
    gradients = _real(gradients)
    if not COMPILE_FAILURES and all(map(_is_plain, gradients)):
        try:
            return sum_of_squares(gradients)
        except NoCompiler as error:
            record_failure(str(error))
    return float(torch.nn.utils.get_total_norm(gradients)) ** 2


def _squares64(gradients: list[Tensor], scale: float = 1.0) -> float:
    """The sum of the squares of all elements times scale, in float64."""
    # MPS has no float64
    on_host = [g.cpu() if g.device.type == "mps" else g for g in _real(gradients)]
    return sum(float((g.double() * scale).square().sum()) for g in on_host)


def _real(gradients: list[Tensor]) -> list[Tensor]:
    return [torch.view_as_real(g) if g.is_complex() else g for g in gradients]


def _is_plain(g: Tensor) -> bool:
    """Whether compiled code can read g."""
    return (
        type(g) is Tensor
        and g.device.type == "cpu"
        and g.layout is torch.strided
        and g.dtype in C_TYPES
    )

"""Which coordinates of a tensor are read: all of a small one, evenly spaced ones of a large one."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def strided(x: Tensor, n: int) -> Tensor:
    """At most n of a tensor's numbers, evenly spaced, as a view where its memory is contiguous.

    The spacing shares no factor with the length of a row, so that the sample goes through all columns.

    Args:
        x: any shape; complex numbers as pairs.
        n: the most that are taken, >= 1.

    Example:
        >>> strided(torch.arange(12.0).view(3, 4), 4)
        tensor([0., 3., 6., 9.])
    """
    flat = (torch.view_as_real(x) if x.is_complex() else x).detach().reshape(-1)
    step = -(-flat.numel() // n)
    columns = x.shape[-1] if x.dim() > 1 else 1
    while step > 1 and math.gcd(step, columns) > 1:
        step += 1
    return flat[::step] if step > 1 else flat


def touched_rows(g: Tensor, n: int = 256) -> Tensor | None:
    """Of at most n evenly spaced rows of a matrix, whether the gradient is not 0 there; None for what has no rows.

    Example:
        >>> touched_rows(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        tensor([False,  True])
    """
    if g.dim() < 2 or g.shape[0] < 2:
        return None
    rows = g.detach()[:: -(-g.shape[0] // n)]
    return (rows != 0).flatten(1).any(1)

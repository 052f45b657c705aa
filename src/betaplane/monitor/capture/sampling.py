"""Which elements of a tensor are sampled: all of a small one, evenly spaced ones of a large one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class RowRange(NamedTuple):
    """The whole rows of a tensor that a rank holds."""

    shape: tuple[int, ...]  # of the whole tensor
    row: int  # the first row


def strided(x: Tensor, n: int, rows: RowRange | None = None) -> Tensor:
    """At most n evenly spaced elements of a tensor, as a view if its memory is contiguous.

    The spacing has no common factor with the row length, so the sample covers all columns.

    Args:
        x: any shape; complex elements count as pairs.
        n: the maximum for the whole tensor, >= 1.
        rows: the rows that x holds, if it is a part; the samples of all parts make up the sample
            of the whole.

    Example:
        >>> strided(torch.arange(12.0).view(3, 4), 4)
        tensor([0., 3., 6., 9.])
        >>> strided(torch.arange(4.0, 12.0).view(2, 4), 4, RowRange((3, 4), row=1))
        tensor([6., 9.])
    """
    flat = (torch.view_as_real(x) if x.is_complex() else x).detach().reshape(-1)
    first, spacing = sample_positions(x.shape, n, rows, pair=2 if x.is_complex() else 1)
    return flat[first::spacing] if spacing > 1 else flat


def sample_positions(
    shape: Sequence[int], n: int, rows: RowRange | None = None, pair: int = 1
) -> tuple[int, int]:
    """The first position that `strided` samples, and the spacing; `pair` is 2 for complex dtypes."""
    whole, row = rows or (shape, 0)
    spacing = max(sample_spacing(whole, n, pair), 1)
    return -row * math.prod(whole[1:]) * pair % spacing, spacing


def sample_spacing(shape: Sequence[int], n: int, pair: int = 1) -> int:
    """The distance between sampled elements of a tensor."""
    spacing = -(-math.prod(shape) * pair // n)
    columns = shape[-1] if len(shape) > 1 else 1
    while spacing > 1 and math.gcd(spacing, columns) > 1:
        spacing += 1
    return spacing


def touched_rows(g: Tensor, n: int = 256, rows: RowRange | None = None) -> Tensor | None:
    """Whether the gradient is nonzero in each of at most n evenly spaced rows of a matrix.

    Args:
        g: gradient, any shape.
        n: the maximum number of rows, of the whole matrix, >= 1.
        rows: the rows that g holds, if it is a part.

    Returns:
        One bool per sampled row; None for a tensor without rows.

    Example:
        >>> touched_rows(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        tensor([False,  True])
    """
    shape, row = rows or (g.shape, 0)
    if len(shape) < 2 or shape[0] < 2:
        return None
    spacing = -(-shape[0] // n)
    sampled = g.detach()[-row % spacing :: spacing]
    return (sampled != 0).flatten(1).any(1)

"""Which coordinates of a tensor are read: all of a small one, evenly spaced ones of a large one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class RowRange(NamedTuple):
    """Where a process's part of a tensor begins: whole rows of it."""

    shape: tuple[int, ...]  # of the whole tensor
    row: int  # the first


def strided(x: Tensor, n: int, part: RowRange | None = None) -> Tensor:
    """At most n of a tensor's numbers, evenly spaced, as a view where its memory is contiguous.

    The spacing shares no factor with the length of a row, so that the sample goes through all
    columns.

    Args:
        x: any shape; complex numbers as pairs.
        n: the most that are taken of the whole tensor, >= 1.
        part: of which rows x is the part, if it is one; the parts' samples make up the sample of the whole.

    Example:
        >>> strided(torch.arange(12.0).view(3, 4), 4)
        tensor([0., 3., 6., 9.])
        >>> strided(torch.arange(4.0, 12.0).view(2, 4), 4, RowRange((3, 4), row=1))
        tensor([6., 9.])
    """
    flat = (torch.view_as_real(x) if x.is_complex() else x).detach().reshape(-1)
    first, step = places(x.shape, n, part, pair=2 if x.is_complex() else 1)
    return flat[first::step] if step > 1 else flat


def places(
    shape: Sequence[int], n: int, part: RowRange | None = None, pair: int = 1
) -> tuple[int, int]:
    """The first place that `strided` takes of a tensor, and how far apart they lie; `pair` is 2 for
    complex numbers.
    """
    whole, row = part or (shape, 0)
    step = spacing(whole, n, pair)
    return -row * math.prod(whole[1:]) * pair % max(step, 1), max(step, 1)


def spacing(shape: Sequence[int], n: int, pair: int = 1) -> int:
    """How far apart the sampled numbers of a tensor lie."""
    step = -(-math.prod(shape) * pair // n)
    columns = shape[-1] if len(shape) > 1 else 1
    while step > 1 and math.gcd(step, columns) > 1:
        step += 1
    return step


def touched_rows(g: Tensor, n: int = 256, part: RowRange | None = None) -> Tensor | None:
    """Of at most n evenly spaced rows of a matrix, whether the gradient is not 0 there; None for
    what has no rows.

    Args:
        g: gradient, any shape.
        n: the most that are looked at, of the whole matrix, >= 1.
        part: of which rows g is the part, if it is one.

    Example:
        >>> touched_rows(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        tensor([False,  True])
    """
    shape, row = part or (g.shape, 0)
    if len(shape) < 2 or shape[0] < 2:
        return None
    step = -(-shape[0] // n)
    rows = g.detach()[-row % step :: step]
    return (rows != 0).flatten(1).any(1)

"""Which coordinates of a model are recorded: drawn at random, tensor by tensor, every tensor
represented.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from betaplane.errors import BadInput

LEAST = 16  # coordinates of a tensor, where it has so many and there is room


def shares(sizes: Sequence[int], coordinates: int) -> list[int]:
    """How many coordinates of each tensor are recorded: in proportion to its size, but not below a
    few of each.

    Args:
        sizes: coordinates of each tensor, >= 1.
        coordinates: how many are recorded in all, at least one a tensor.

    Returns:
        A number for each tensor, in [1, size]; they add up to `coordinates`, or to all there are.

    Raises:
        BadInput: fewer coordinates than tensors.

    Example:
        >>> shares([1000, 100, 4], 60), shares([2, 3], 60)
        ([39, 17, 4], [2, 3])
    """
    if coordinates < len(sizes):
        raise BadInput(
            "There are fewer coordinates than tensors, and every tensor is recorded",
            value=coordinates,
            allowed=f"[{len(sizes)}, inf)",
            where="coordinates",
            instead=f"coordinates={max(20_000, 16 * len(sizes))}",
        )
    least = max(1, min(LEAST, coordinates // len(sizes)))
    found = [min(size, least) for size in sizes]
    left = min(coordinates, sum(sizes)) - sum(found)
    while left > 0:
        room = [size - have for size, have in zip(sizes, found, strict=True)]
        rate = left / sum(room)
        more = [min(space, math.floor(space * rate)) for space in room]
        if not any(more):
            more = _ones(room, left)
        found = [have + one for have, one in zip(found, more, strict=True)]
        left -= sum(more)
    return found


def _ones(room: Sequence[int], left: int) -> list[int]:
    """One more for each of the `left` tensors with the most room."""
    first = sorted(range(len(room)), key=lambda i: -room[i])[:left]
    return [int(i in first) for i in range(len(room))]


def drawn(sizes: Sequence[int], coordinates: int, seed: int = 0) -> list[Tensor]:
    """Of each tensor the coordinates that are recorded: int64, ascending, without repetition.

    Args:
        sizes: coordinates of each tensor, >= 1.
        coordinates: how many are recorded in all.
        seed: of the draw.

    Example:
        >>> [len(each) for each in drawn([1000, 4], 20)], drawn([1000, 4], 20)[1].tolist()
        ([16, 4], [0, 1, 2, 3])
    """
    draw = random.Random(seed)
    numbers = zip(sizes, shares(sizes, coordinates), strict=True)
    return [torch.tensor(sorted(draw.sample(range(size), share))) for size, share in numbers]

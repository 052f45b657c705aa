"""Sample the coordinates of a model to record: at random, with every tensor represented."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from betaplane.errors import BadInput

MIN_PER_TENSOR = 16  # coordinates of a tensor, if it has so many and the total allows


def shares(sizes: Sequence[int], coordinates: int) -> list[int]:
    """The number of recorded coordinates of each tensor: proportional to its size, but at least a
    few.

    Args:
        sizes: coordinates of each tensor, >= 1.
        coordinates: the total to record, at least one per tensor.

    Returns:
        A number for each tensor, in [1, size]; the sum is `coordinates`, or all that exist.

    Raises:
        BadInput: there are fewer coordinates than tensors.

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
            instead=f"coordinates={max(20_000, MIN_PER_TENSOR * len(sizes))}",
        )
    least = max(1, min(MIN_PER_TENSOR, coordinates // len(sizes)))
    counts = [min(size, least) for size in sizes]
    left = min(coordinates, sum(sizes)) - sum(counts)
    while left > 0:
        unused = [size - count for size, count in zip(sizes, counts, strict=True)]
        rate = left / sum(unused)
        more = [min(available, math.floor(available * rate)) for available in unused]
        if not any(more):
            more = _one_each(unused, left)
        counts = [count + extra for count, extra in zip(counts, more, strict=True)]
        left -= sum(more)
    return counts


def _one_each(unused: Sequence[int], left: int) -> list[int]:
    """One more for each of the `left` tensors with the most unused coordinates."""
    first = sorted(range(len(unused)), key=lambda i: -unused[i])[:left]
    return [int(i in first) for i in range(len(unused))]


def sample_coordinates(sizes: Sequence[int], coordinates: int, seed: int = 0) -> list[Tensor]:
    """The recorded coordinates of each tensor: int64, ascending, without repetition.

    Args:
        sizes: coordinates of each tensor, >= 1.
        coordinates: the total to record.
        seed: of the random sample.

    Example:
        >>> [len(i) for i in sample_coordinates([1000, 4], 20)], sample_coordinates([1000, 4], 20)[1].tolist()
        ([16, 4], [0, 1, 2, 3])
    """
    generator = random.Random(seed)
    pairs = zip(sizes, shares(sizes, coordinates), strict=True)
    return [torch.tensor(sorted(generator.sample(range(size), count))) for size, count in pairs]

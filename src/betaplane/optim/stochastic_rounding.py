"""Stochastic rounding to bfloat16, with random bits that are the same on every path."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.blocks import BLOCK, row_length

# 2^32 divided by the golden ratio, and its upper 16 bits 2^16 divided by it: multiples are spread
# evenly at both ends
GOLDEN_STEP = 0x9E349E37


def random_bits(
    shape: torch.Size, seed: int, stream: int = 0, start: int = 0, bits: int = 16
) -> Tensor:
    """Random bits for each element of a tensor, from its index, seed and stream alone.

    Each block of 256 has a random start, a hash; the following elements add multiples of the golden ratio. So the bits
    of every element are uniform, those of other blocks and steps are independent, and neighbors round to different
    sides.

    Args:
        shape: the tensor's.
        seed: the step.
        stream: which of the tensors rounded in this step; two streams share 32 bits, one uses the high ones.
        start: the index of the first element if the tensor is a chunk: whole rows, or blocks of a row.
        bits: how many, in 16 .. 20; above 16 the two streams share the last ones.

    Returns:
        int32, like the tensor, in [0, 2^bits).

    Example:
        >>> random_bits(torch.Size([4]), seed=1).tolist()
        [13148, 53648, 28613, 3578]
    """
    index = torch.arange(math.prod(shape), dtype=torch.int64)
    i = index % (row_length(shape) or 1) % BLOCK
    h = _low_32(
        _low_32((start + index - i) * 2654435769) + _low_32((seed + stream // 2 + 1) * 0x85EBCA6B)
    )
    h = _low_32((h ^ (h >> 16)) * 0x7FEB352D)
    h = _low_32((h ^ (h >> 15)) * 0x846CA68B)
    h = _low_32((h ^ (h >> 16)) + i * GOLDEN_STEP)
    high_or_low = h if stream % 2 else h >> (32 - bits)
    return (high_or_low & ((1 << bits) - 1)).int().view(shape)


def _low_32(h: Any) -> Any:
    return h & 0xFFFFFFFF


def noise_stream(i: int) -> int:
    """The stream of random bits for the weights (i = 0), or for tensor i - 1 of the state.

    Moments come in pairs, and share the 32 bits of a hash.
    """
    return i - 1 if i else 15


def round_stochastically(x: Tensor, r: Tensor) -> Tensor:
    """Round float32 to bfloat16, up or down with a probability that makes the mean exact.

    Args:
        x: float32.
        r: like x, int32 in [0, 65536), uniform.

    Example:
        >>> x = torch.full((65536,), 1 + 2**-9)
        >>> round_stochastically(x, torch.arange(65536, dtype=torch.int32)).float().mean().item()
        1.001953125
    """
    bits = (x.contiguous().view(torch.int32) + r) & -65536
    rounded = bits.view(torch.float32).to(torch.bfloat16)
    # the bits of nan may be all ones, to which nothing can be added
    return rounded.masked_fill_(x.isnan(), torch.nan)

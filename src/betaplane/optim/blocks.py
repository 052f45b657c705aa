"""Blocks of 256 elements that share a scale: where they start, and how a tensor is split into them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 256  # elements that share a scale
MIN_ROW = 32  # elements in a row from which every row starts a new block
MIN_SCALE = 2.0**-110  # a block whose largest magnitude is below it is stored as zeros


def row_length(shape: torch.Size) -> int:
    """The number of elements after which blocks start again.

    It is the length of a row along the first dimension if that has MIN_ROW elements or more: then a tensor that is
    sharded by rows has the scales of its rows, and can be resharded. Narrower tensors are one row.

    Example:
        >>> row_length(torch.Size([10, 300])), row_length(torch.Size([1000, 8])), row_length(torch.Size([50_000]))
        (300, 8000, 50000)
    """
    length = math.prod(shape[1:])
    return length if len(shape) > 1 and length >= MIN_ROW else math.prod(shape)


def scale_shape(shape: torch.Size) -> torch.Size:
    """The shape of the scales of a tensor in 8 bits: one per block of each row.

    Example:
        >>> scale_shape(torch.Size([10, 300])), scale_shape(torch.Size([1000, 8]))
        (torch.Size([10, 2]), torch.Size([1, 32]))
    """
    length = row_length(shape)
    return torch.Size([math.prod(shape) // length if length else 0, -(-length // BLOCK)])


def split_blocks(value: Tensor) -> Tensor:
    """The elements by row and block, of shape (rows, blocks per row, BLOCK), padded with zeros."""
    rows = value.reshape(-1, row_length(value.shape))
    if gap := -rows.shape[1] % BLOCK:
        rows = torch.nn.functional.pad(rows, (0, gap))
    return rows.reshape(len(rows), -1, BLOCK)


def join_blocks(blocks: Tensor, shape: torch.Size) -> Tensor:
    """The tensor of a shape from its elements by row and block, without the padding."""
    return blocks.reshape(len(blocks), -1)[:, : row_length(shape)].reshape(shape)


def block_scales(blocks: Tensor) -> Tensor:
    """The largest magnitude in each block."""
    return blocks.abs().amax(dim=-1)


def inverse_scales(scales: Tensor) -> Tensor:
    """1 / scale; 0 for scales below MIN_SCALE."""
    return torch.where(scales < MIN_SCALE, 0, 1 / scales)

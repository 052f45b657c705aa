"""The blocks of 8-bit states: elements that share a scale."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from betaplane.checkpoints.layer import SECOND, Layer
from betaplane.optim.blocks import BLOCK, row_length


def largest_in_block(layer: Layer, x: Tensor) -> Tensor:
    """For each element of a flat tensor, the largest magnitude in its block.

    Args:
        layer: its 8-bit state, which has the blocks.
        x: one of its moments, flat.
    """
    row, block = _layout(layer, x.numel())
    rows = x.abs().view(-1, row)
    blocks = pad(rows, (0, -row % block)).view(len(rows), -1, block)
    largest = blocks.amax(2, keepdim=True).expand_as(blocks)
    return largest.reshape(len(rows), -1)[:, :row].reshape(-1)


def _layout(layer: Layer, elements: int) -> tuple[int, int]:
    """The elements per row that begins a new block, and per block."""
    key = next(key for key in SECOND if layer.held.get(key) is not None)
    quantized = layer.quantized(key)
    if quantized:
        return elements, quantized.block
    return row_length(layer.held[key].shape), BLOCK

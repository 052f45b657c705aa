"""Moments stored in 8 bits: blockwise codes that are dequantized on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 256  # elements that share a scale


class Quantized(NamedTuple):
    """A quantized tensor: element = table[code] * scale of its block.

    Example:
        >>> codes = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)
        >>> quantized = Quantized(codes, torch.arange(3.0), torch.tensor([10.0]))
        >>> quantized.at(torch.tensor([1, 2]))
        tensor([10., 20.])
    """

    codes: Tensor  # like the parameter, uint8
    table: Tensor  # the value of each code, in units of its block's scale
    scale: Tensor  # one per block
    row: int = 0  # elements per row if each row starts a new block; 0 if blocks cross rows
    block: int = BLOCK

    def at(self, indices: Tensor) -> Tensor:
        """The elements at some indices of the flat tensor, in the table's dtype."""
        row = self.row or self.codes.numel()
        block = indices // row * -(-row // self.block) + indices % row // self.block
        return self.table[self.codes.reshape(-1)[indices].int()] * self.scale.reshape(-1)[block]


def wrap_quantized(
    value: Any, optimizer: Any, p: Tensor, group: Mapping[str, Any], key: str
) -> Any:
    """Wrap a moment as `Quantized` if it has a known 8-bit format; return any other unchanged.

    Known formats are this package's (the optimizer describes its own storage), bitsandbytes' and
    torchao's.

    Args:
        value: this rank's part of the moment.
        optimizer: owns the state.
        p: the parameter.
        group: its group.
        key: the moment's key in the state.
    """
    if not isinstance(value, Tensor):
        return value
    subclass: Any = value if type(value) is not Tensor else None  # as in torchao
    if hasattr(subclass, "qmap") and subclass.codes.shape == subclass.shape:
        return Quantized(subclass.codes, subclass.qmap, subclass.scale, block=subclass.block_size)
    if hasattr(subclass, "scale"):
        return subclass.dequantize()
    if value.dtype != torch.uint8:
        return value
    param_state = optimizer.state[p]
    suffix = key[-1:]
    if f"qmap{suffix}" in param_state:
        return Quantized(value, param_state[f"qmap{suffix}"], param_state[f"absmax{suffix}"])
    own = optimizer.coded(p, group, key) if hasattr(optimizer, "coded") else None
    return value if own is None else Quantized(value, *own)

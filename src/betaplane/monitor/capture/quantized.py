"""Moments that are kept in codes of 8 bits: a number of a table times the scale of its block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 256  # numbers that share a scale


class Quantized(NamedTuple):
    """A tensor in codes.

    Example:
        >>> codes = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)
        >>> coded = Quantized(codes, torch.arange(3.0), torch.tensor([10.0]))
        >>> coded.at(torch.tensor([1, 2]))
        tensor([10., 20.])
    """

    codes: Tensor  # like the parameter, uint8
    table: Tensor  # what each code stands for, over its block's scale
    scale: Tensor  # one a block
    row: int = 0  # numbers from which blocks start anew; 0 where they go on to the tensor's end
    block: int = BLOCK

    def at(self, places: Tensor) -> Tensor:
        """The numbers at some places of the flat tensor, in the table's type."""
        row = self.row or self.codes.numel()
        block = places // row * -(-row // self.block) + places % row // self.block
        return self.table[self.codes.reshape(-1)[places].int()] * self.scale.reshape(-1)[block]


def decoded(value: Any, optimizer: Any, p: Tensor, group: Mapping[str, Any], word: str) -> Any:
    """A state's tensor, as `Quantized` where it is in codes of a known kind; any other as it is.

    Known are this package's (the optimizer says how it keeps them), bitsandbytes' and torchao's.

    Args:
        value: this process's part of it.
        optimizer: whose.
        p: its parameter.
        group: the parameter's group.
        word: its name in the state.
    """
    if not isinstance(value, Tensor):
        return value
    subclass: Any = value if type(value) is not Tensor else None  # as torchao's
    if hasattr(subclass, "qmap") and subclass.codes.shape == subclass.shape:
        return Quantized(subclass.codes, subclass.qmap, subclass.scale, block=subclass.block_size)
    if hasattr(subclass, "scale"):
        return subclass.dequantize()
    if value.dtype != torch.uint8:
        return value
    held, last = optimizer.state[p], word[-1:]
    if f"qmap{last}" in held:
        return Quantized(value, held[f"qmap{last}"], held[f"absmax{last}"])
    own = optimizer.coded(p, group, word) if hasattr(optimizer, "coded") else None
    return value if own is None else Quantized(value, *own)

"""Where a tensor's numbers lie: which layouts torch's fused kernels may walk, and how to make one
like another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def dense(x: Tensor) -> bool:
    """Whether x fills one block of memory, each place once, in whatever order of dimensions.

    Example:
        >>> x = torch.zeros(4, 6)
        >>> dense(x), dense(x.T), dense(x[:, ::2]), dense(x[:1].expand(4, 6))
        (True, True, False, False)
    """
    return x.is_contiguous() or torch.empty_like(x, device="meta").stride() == x.stride()


def alike(value: Tensor, x: Tensor) -> bool:
    """Whether value has the shape, the strides and the type of x."""
    if value.dtype != x.dtype or value.shape != x.shape:
        return False
    return (value.is_contiguous() and x.is_contiguous()) or value.stride() == x.stride()


def align(held: dict[str, Any], x: Tensor) -> None:
    """Lay out as x the tensors of a state that have its shape."""
    for word, value in held.items():
        if isinstance(value, Tensor) and value.shape == x.shape and value.stride() != x.stride():
            held[word] = like(value, x)


def like(value: Tensor, x: Tensor) -> Tensor:
    """A copy of value laid out as x, in value's own type.

    Example:
        >>> like(torch.arange(4.0).reshape(2, 2), torch.zeros(2, 2).T).stride()
        (1, 2)
    """
    return torch.empty_like(x, dtype=value.dtype, device=value.device).copy_(value)

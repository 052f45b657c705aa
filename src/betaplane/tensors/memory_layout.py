"""Memory layout of tensors: which ones are dense, which two are laid out alike, copies in another's
layout.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_dense(x: Tensor) -> bool:
    """Whether x fills one block of memory, each address once, in any order of dimensions.

    Torch's fused CPU kernels walk raw memory, so they are only correct for dense tensors.

    Example:
        >>> x = torch.zeros(4, 6)
        >>> is_dense(x), is_dense(x.T), is_dense(x[:, ::2]), is_dense(x[:1].expand(4, 6))
        (True, True, False, False)
    """
    return x.is_contiguous() or torch.empty_like(x, device="meta").stride() == x.stride()


def same_layout(value: Tensor, x: Tensor) -> bool:
    """Whether value has the shape, the strides and the dtype of x."""
    if value.dtype != x.dtype or value.shape != x.shape:
        return False
    return (value.is_contiguous() and x.is_contiguous()) or value.stride() == x.stride()


def align_state(param_state: dict[str, Any], x: Tensor) -> None:
    """Copy the tensors of a state that have x's shape into x's layout, if theirs differs."""
    for key, value in param_state.items():
        if isinstance(value, Tensor) and value.shape == x.shape and value.stride() != x.stride():
            param_state[key] = copy_in_layout(value, x)


def copy_in_layout(value: Tensor, x: Tensor) -> Tensor:
    """Copy value into the layout of x; the dtype stays.

    Example:
        >>> copy_in_layout(torch.arange(4.0).reshape(2, 2), torch.zeros(2, 2).T).stride()
        (1, 2)
    """
    return torch.empty_like(x, dtype=value.dtype, device=value.device).copy_(value)

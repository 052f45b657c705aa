"""Torch's fused kernels that were checked against its loops, and may therefore be used by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.tensors.dtensor import PLAIN_TYPES
from betaplane.tensors.memory_layout import is_dense

FULL_PRECISION = frozenset({torch.float32, torch.float64})

CHECKED: Mapping[tuple[str, str], frozenset[torch.dtype]] = {  # (torch's class, device) -> dtypes
    ("SGD", "cpu"): FULL_PRECISION,
    ("Adagrad", "cpu"): FULL_PRECISION | {torch.bfloat16},
    ("Adam", "cpu"): FULL_PRECISION | {torch.bfloat16},
    ("AdamW", "cpu"): FULL_PRECISION | {torch.bfloat16},
    ("SGD", "cuda"): FULL_PRECISION,
    ("Adam", "cuda"): FULL_PRECISION,
    ("AdamW", "cuda"): FULL_PRECISION,
}
"""The rows that agree with the loop under every option, including for gradients that are huge, subnormal, inf or nan.

Not listed: float16, in which squares underflow in the loops but not in the kernels, and the rows of WRONG. `amsgrad` is
in no row: torch's kernel loses nan in the maximum of the last elements of a tensor.
"""

WRONG: Mapping[tuple[str, str], frozenset[torch.dtype]] = {
    # torch 2.13: parameters do not move
    ("SGD", "cpu"): frozenset({torch.bfloat16, torch.float16}),
}
"""The rows whose results are wrong: never used, even if `fused` is True."""


def has_checked_kernel(class_name: str, group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether torch's fused kernel is right for p's dtype and its group's options.

    Args:
        class_name: the name of torch's class.
        group: p's group.
        p: a parameter.

    Example:
        >>> p = torch.zeros(2)
        >>> has_checked_kernel("SGD", {}, p), has_checked_kernel("SGD", {"fused": True}, p.bfloat16())
        (True, False)
    """
    row = class_name, p.device.type
    if group.get("fused"):
        return p.dtype not in WRONG.get(row, ())
    return p.dtype in CHECKED.get(row, ()) and not group.get("amsgrad")


def kernel_can_step(class_name: str, group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether torch's fused kernel may step p with the gradient that it has now.

    Args:
        class_name: the name of torch's class.
        group: p's group.
        p: a parameter. The kernel walks raw memory, so p must be dense and its gradient strided.
    """
    if group.get("fused") and (p.is_meta or not p.is_floating_point()):
        return True  # torch then raises its own error for the requested kernel
    plain = type(p) in PLAIN_TYPES and p.device.type in ("cpu", "cuda") and p.is_floating_point()
    strided = p.grad is None or p.grad.layout is torch.strided
    return plain and strided and is_dense(p) and has_checked_kernel(class_name, group, p)

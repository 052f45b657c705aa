"""Set gradients to zero with a step: within its passes over memory, or after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from betaplane.tensors.dtensor import local_tensor


@contextmanager
def zeroed_gradients(optimizer: Any) -> Iterator[None]:
    """Around a step, set gradients to zero if the optimizer's `zero` is set.

    A step reads each gradient once, so it can set it to zero at no cost. That is not possible if another parameter's
    gradient shares its memory, nor for parameters that are skipped: those are set to zero after the step.

    Args:
        optimizer: one of this package's.
    """
    if not optimizer.zero:
        yield
        return
    params = [p for group in optimizer.param_groups for p in group["params"]]
    with torch.no_grad():
        grads = [local_tensor(p.grad) for p in params if p.grad is not None]
    optimizer._zero_in_step = optimizer.nonfinite != "skip" and not may_overlap(grads)
    try:
        yield
        if not optimizer._zero_in_step:
            with torch.no_grad():
                for g in grads:
                    distinct_elements(g).zero_()
    finally:
        optimizer._zero_in_step = False


def may_overlap(tensors: Sequence[Tensor]) -> bool:
    """Whether two of the tensors may share memory, or two elements of one do.

    Example:
        >>> x = torch.zeros(4, 6)
        >>> may_overlap([x[:2], x[2:]]), may_overlap([x[:3], x[2:]]), may_overlap([x[:1].expand(4, 6)])
        (False, True, True)
    """
    spans = sorted(
        (x.data_ptr(), x.data_ptr() + _extent(x) * x.element_size()) for x in tensors if x.numel()
    )
    return any(a[1] > b[0] for a, b in pairwise(spans)) or any(
        distinct_elements(x) is not x for x in tensors
    )


def _extent(x: Tensor) -> int:
    """The number of elements of memory from the first to the last element of x."""
    if x.is_contiguous():
        return x.numel()
    return 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))


def distinct_elements(x: Tensor) -> Tensor:
    """The part of x whose elements have different addresses; x itself unless it was expanded.

    Example:
        >>> distinct_elements(torch.zeros(2, 1).expand(2, 9)).shape
        torch.Size([2, 1])
    """
    for dim, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if stride == 0 and size > 1:
            x = x.narrow(dim, 0, 1)
    return x

"""Set gradients to zero with a step: in its passes, or after all of them if gradients share memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from betaplane.tensors.dtensor import local_tensor


@contextmanager
def zeroed(optimizer: Any) -> Iterator[None]:
    """Around a step, set gradients to zero if the optimizer is to.

    Passes read each gradient once, so they can set it to zero at no cost; but not if another parameter's gradient is in
    the same memory, and not those of parameters that are skipped.

    Args:
        optimizer: one of this package's.
    """
    params = (
        [p for group in optimizer.param_groups for p in group["params"]] if optimizer.zero else []
    )
    with torch.no_grad():
        gradients = [local_tensor(p.grad) for p in params if p.grad is not None]
    in_passes = optimizer.zero and optimizer.nonfinite != "skip" and not overlap(gradients)
    optimizer._zeroes = in_passes
    yield
    with torch.no_grad():
        for g in () if in_passes else gradients:
            distinct(g).zero_()


def overlap(tensors: Sequence[Tensor]) -> bool:
    """Whether two of the tensors may share memory, or two elements of one do.

    Example:
        >>> x = torch.zeros(4, 6)
        >>> overlap([x[:2], x[2:]]), overlap([x[:3], x[2:]]), overlap([x[:1].expand(4, 6)])
        (False, True, True)
    """
    spans = sorted(
        (x.data_ptr(), x.data_ptr() + _extent(x) * x.element_size()) for x in tensors if x.numel()
    )
    return any(a[1] > b[0] for a, b in pairwise(spans)) or any(
        distinct(x) is not x for x in tensors
    )


def _extent(x: Tensor) -> int:
    """How many elements lie from the first to the last one of x."""
    if x.is_contiguous():
        return x.numel()
    return 1 + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))


def distinct(x: Tensor) -> Tensor:
    """The part of x whose elements lie in different places; x itself, unless it was expanded.

    Example:
        >>> distinct(torch.zeros(2, 1).expand(2, 9)).shape
        torch.Size([2, 1])
    """
    for dim, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if stride == 0 and size > 1:
            x = x.narrow(dim, 0, 1)
    return x

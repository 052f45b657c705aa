"""Helpers for sharded tensors (torch's DTensor): detect, redistribute, take local parts, sum over
ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PLAIN_TYPES = (Tensor, torch.nn.Parameter)


def is_dtensor(value: Any) -> bool:
    """Whether value is a DTensor: each rank holds a part of it, or a copy."""
    if type(value) in PLAIN_TYPES:
        return False
    # not imported here, because torch can be built without it
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def redistribute_like(value: Any, p: Any, *, rows: bool = False) -> Any:
    """Shard a tensor as p is if it has p's shape; otherwise replicate it on every rank.

    Args:
        value: a DTensor on p's mesh, or a plain tensor that is the same on every rank.
        p: a DTensor.
        rows: shard a tensor of any shape as p is.
    """
    if is_dtensor(value) and value.placements == p.placements and value.shape == p.shape:
        return value
    from torch.distributed.tensor import DTensor, Replicate

    replicated = (Replicate(),) * p.device_mesh.ndim
    if not is_dtensor(value):
        value = DTensor.from_local(value, p.device_mesh, replicated, run_check=False)
    wanted = p.placements if rows or value.shape == p.shape else replicated
    return value if value.placements == wanted else value.redistribute(placements=wanted)


def local_tensor(value: Tensor) -> Tensor:
    """This rank's part of a DTensor, in the same memory; a plain tensor itself.

    Under `torch.no_grad` every call returns the same tensor.
    """
    part: Any = value.to_local() if is_dtensor(value) else value  # type: ignore[attr-defined]
    # an asynchronous result is a subclass of Tensor that has to be waited for
    return part if type(part) is Tensor or not hasattr(part, "wait") else part.wait()


def full_tensor(value: Tensor) -> Tensor:
    """All elements of a DTensor, on every rank; a plain tensor itself."""
    return value.full_tensor() if is_dtensor(value) else value  # type: ignore[attr-defined]


def sum_over_ranks(value: Tensor, p: Any) -> Tensor:
    """Sum, in place, what each rank measured on its own shard of p.

    Mesh dimensions over which p is replicated are not summed over.
    """
    from torch.distributed import all_reduce

    for dim, placement in enumerate(p.placements):
        if not placement.is_replicate():
            all_reduce(value, group=p.device_mesh.get_group(dim))
    return value


def group_by_placement(tensors: Sequence[Any]) -> dict[Any, list[int]]:
    """Indices of tensors by (mesh, placements); plain tensors are under None."""
    groups: dict[Any, list[int]] = {}
    for i, value in enumerate(tensors):
        key = (value.device_mesh, value.placements) if is_dtensor(value) else None
        groups.setdefault(key, []).append(i)
    return groups


def sum_counts(tensors: Sequence[Any], counts: Sequence[int]) -> list[int]:
    """Sum over ranks the counts of each tensor, so that all ranks take the same decision.

    Args:
        tensors: the same on every rank, in the same order.
        counts: one count per tensor, of this rank's shard.
    """
    sums = list(counts)
    for placement, indices in group_by_placement(tensors).items():
        if placement is not None:
            local = torch.tensor([counts[i] for i in indices], device=placement[0].device_type)
            summed = sum_over_ranks(local, tensors[indices[0]]).tolist()
            for i, count in zip(indices, summed, strict=True):
                sums[i] = count
    return sums


def sum_elements(tensors: Sequence[Any], measure: Callable[[list[Tensor]], float]) -> float:
    """Sum a quantity over all elements of tensors, including the shards of other ranks.

    Args:
        tensors: the same on every rank, in the same order.
        measure: the sum over the elements of plain tensors.
    """
    return sum(
        sum_scalar(measure([local_tensor(tensors[i]) for i in indices]), tensors[indices[0]])
        for indices in group_by_placement(tensors).values()
    )


def sum_scalar(value: float, p: Any) -> float:
    """Sum over ranks what each measured on its shard of p; the value itself if p is not sharded."""
    if not is_dtensor(p):
        return value
    local = torch.tensor(value, dtype=torch.float64, device=p.device_mesh.device_type)
    return float(sum_over_ranks(local, p))

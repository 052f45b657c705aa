"""Tensors spread over a mesh of processes (torch's DTensor): which are, how to spread one, how to
agree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PLAIN = (Tensor, torch.nn.Parameter)


def on_mesh(value: Any) -> bool:
    """Whether value is a tensor of which each process holds a part, or a copy."""
    if type(value) in PLAIN:
        return False
    # not imported here: torch can be built without it
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def placed(value: Any, p: Any, *, rows: bool = False) -> Any:
    """A tensor spread as p is, if it has the shape of p; any other is whole on every process.

    Args:
        value: on p's mesh, or plain and the same on every process.
        p: on a mesh.
        rows: spread any other, too, as p is.
    """
    if on_mesh(value) and value.placements == p.placements and value.shape == p.shape:
        return value
    from torch.distributed.tensor import DTensor, Replicate

    whole = (Replicate(),) * p.device_mesh.ndim
    if not on_mesh(value):
        value = DTensor.from_local(value, p.device_mesh, whole, run_check=False)
    wanted = p.placements if rows or value.shape == p.shape else whole
    return value if value.placements == wanted else value.redistribute(placements=wanted)


def local(value: Tensor) -> Tensor:
    """This process's part of a tensor on a mesh, in the same memory; a plain tensor itself.

    Under `torch.no_grad` it is the same tensor at every call.
    """
    part: Any = value.to_local() if on_mesh(value) else value  # type: ignore[attr-defined]
    # for what is under way
    return part if type(part) is Tensor or not hasattr(part, "wait") else part.wait()


def full(value: Tensor) -> Tensor:
    """All of a tensor on a mesh, on every process; a plain tensor itself."""
    return value.full_tensor() if on_mesh(value) else value  # type: ignore[attr-defined]


def summed(value: Tensor, p: Any) -> Tensor:
    """What each process says of its own part of p, added up in place."""
    from torch.distributed import all_reduce

    for dim, placement in enumerate(p.placements):
        if not placement.is_replicate():
            all_reduce(value, group=p.device_mesh.get_group(dim))
    return value


def kinds(tensors: Sequence[Any]) -> dict[Any, list[int]]:
    """The places of tensors that are spread alike, over the same mesh; under None, of those on no
    mesh.
    """
    found: dict[Any, list[int]] = {}
    for i, value in enumerate(tensors):
        found.setdefault(
            (value.device_mesh, value.placements) if on_mesh(value) else None, []
        ).append(i)
    return found


def agreed(tensors: Sequence[Any], counts: Sequence[int]) -> list[int]:
    """What each process counted in its parts of tensors, added up, so that all processes go on
    alike.

    Args:
        tensors: the same on every process, in the same order.
        counts: one a tensor.
    """
    total = list(counts)
    for kind, places in kinds(tensors).items():
        if kind is not None:
            found = torch.tensor([counts[i] for i in places], device=kind[0].device_type)
            for i, count in zip(places, summed(found, tensors[places[0]]).tolist(), strict=True):
                total[i] = count
    return total


def total(tensors: Sequence[Any], measure: Callable[[list[Tensor]], float]) -> float:
    """A sum over all numbers of tensors, of their parts on all processes.

    Args:
        tensors: the same on every process, in the same order.
        measure: the sum over the numbers of plain tensors.
    """
    return sum(
        added(measure([local(tensors[i]) for i in places]), tensors[places[0]])
        for places in kinds(tensors).values()
    )


def added(value: float, p: Any) -> float:
    """What each process says of its own part of p, added up; of a plain tensor, what this one says."""
    if not on_mesh(p):
        return value
    return float(
        summed(torch.tensor(value, dtype=torch.float64, device=p.device_mesh.device_type), p)
    )

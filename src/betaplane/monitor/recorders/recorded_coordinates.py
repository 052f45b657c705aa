"""Which elements of which tensors are recorded: those whose moments are plain dense tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import READABLE_DTYPES, M, V
from betaplane.monitor.capture.sampling import sample_spacing
from betaplane.tensors.dtensor import local_tensor
from betaplane.tensors.memory_layout import is_dense
from betaplane.tensors.param_names import named_parameters

MAX_COORDINATES = 64  # per tensor
MIN_COORDINATES = 8  # per tensor
MAX_MEMORY_SHARE = 0.0075  # size of a record over that of the optimizer's moments
MIN_RECORD_BYTES = 2**18  # allowed even if it exceeds that share
BYTES_PER_COORDINATE = 8  # per step: two moments in float32


class RecordedCoordinates(NamedTuple):
    """The recorded elements of one tensor."""

    name: str
    p: Tensor
    group: Mapping[str, Any]
    m: Any  # the optimizer's tensor
    v: Any
    spacing: int  # of the elements, in memory
    n: int  # number of elements

    def views(self) -> tuple[Tensor, Tensor]:
        """The elements of both moments, as views that follow all later changes."""
        m, v = (_flat_memory(local_tensor(moment))[:: self.spacing] for moment in (self.m, self.v))
        return m, v


def choose_coordinates(
    optimizer: Optimizer, names: Mapping[Tensor, str] | None, rows: int
) -> list[RecordedCoordinates]:
    """Choose the elements of all tensors on the device of the first.

    Args:
        optimizer: owns the moments.
        names: names of parameters that have none in the optimizer.
        rows: steps in the record, which limit the number of elements.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(50, 40))
        >>> optimizer = torch.optim.Adam([("w", p)])
        >>> p.grad = torch.ones_like(p)
        >>> choose_coordinates(optimizer, None, 64)
        []
        >>> optimizer.step()
        >>> [(chosen.name, chosen.spacing, chosen.n) for chosen in choose_coordinates(optimizer, None, 64)]
        [('w', 33, 61)]
    """
    tensors: list[tuple[str, Tensor, Mapping[str, Any], Any, Any]] = []
    for name, p, group in named_parameters(optimizer, names):
        param_state = optimizer.state.get(p) or {}
        m, v = param_state.get(M), param_state.get(V)
        if are_plain(m, v):
            tensors.append((name, p, group, m, v))
    if not tensors:
        return []
    device = tensors[0][3].device
    tensors = [tensor for tensor in tensors if tensor[3].device == device]
    n = _coordinates_per_tensor([local_tensor(tensor[3]) for tensor in tensors], rows)
    return [_choose(name, p, group, m, v, n) for name, p, group, m, v in tensors]


def are_plain(m: Any, v: Any) -> bool:
    """Whether both moments are plain dense tensors with the same memory layout."""
    if not isinstance(m, Tensor) or not isinstance(v, Tensor):
        return False
    m, v = local_tensor(m), local_tensor(v)
    if type(m) is not Tensor or type(v) is not Tensor:  # quantized, as in torchao
        return False
    readable = m.dtype in READABLE_DTYPES and v.dtype in READABLE_DTYPES and not m.is_complex()
    if not readable or m.layout != torch.strided or not m.numel():
        return False
    return m.shape == v.shape and m.stride() == v.stride() and is_dense(m)


def _flat_memory(x: Tensor) -> Tensor:
    """The elements of a dense tensor, in memory order."""
    return x.detach().as_strided((x.numel(),), (1,))


def _coordinates_per_tensor(moments: list[Tensor], rows: int) -> int:
    """The number of elements per tensor that keeps the record small."""
    state_bytes = sum(2 * m.numel() * m.element_size() for m in moments)
    record_bytes = max(MIN_RECORD_BYTES, MAX_MEMORY_SHARE * state_bytes)
    per_tensor = record_bytes / (BYTES_PER_COORDINATE * rows * max(1, len(moments)))
    return min(MAX_COORDINATES, max(MIN_COORDINATES, int(per_tensor)))


def _choose(
    name: str, p: Tensor, group: Mapping[str, Any], m: Any, v: Any, n: int
) -> RecordedCoordinates:
    shard = local_tensor(m)
    spacing = sample_spacing(shard.shape, n)
    return RecordedCoordinates(name, p, group, m, v, spacing, len(range(0, shard.numel(), spacing)))

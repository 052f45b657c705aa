"""Which coordinates of which tensors are recorded: those whose moments lie open in the optimizer's
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import FORMATS, M, V, local, named
from betaplane.monitor.capture.sampling import spacing

MOST = 64  # coordinates of a tensor
LEAST = 8
SHARE = 0.0075  # of the optimizer's moments, that a record may take in memory
SMALL = 2**18  # bytes that it may take in any case


class RecordedCoordinates(NamedTuple):
    """One tensor of a record."""

    name: str
    p: Tensor
    group: Mapping[str, Any]
    m: Any  # what the optimizer holds for it
    v: Any
    spacing: int  # of the coordinates, in memory
    n: int  # coordinates

    def views(self) -> tuple[Tensor, Tensor]:
        """The coordinates of both moments, as views that go on to show what these hold."""
        m, v = (_flat(local(each))[:: self.spacing] for each in (self.m, self.v))
        return m, v


def slots(
    optimizer: Optimizer, names: Mapping[Tensor, str] | None, rows: int
) -> list[RecordedCoordinates]:
    """The tensors of a record, all on the device of the first.

    Args:
        optimizer: whose moments.
        names: of parameters that the optimizer has no names of.
        rows: steps in the record, which decide how many coordinates there is room for.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(50, 40))
        >>> optimizer = torch.optim.Adam([("w", p)])
        >>> p.grad = torch.ones_like(p)
        >>> slots(optimizer, None, 64)
        []
        >>> optimizer.step()
        >>> [(slot.name, slot.spacing, slot.n) for slot in slots(optimizer, None, 64)]
        [('w', 33, 61)]
    """
    found = [
        (name, p, group, optimizer.state.get(p) or {}) for name, p, group in named(optimizer, names)
    ]
    open_ = [
        (name, p, group, held[M], held[V])
        for name, p, group, held in found
        if is_open(held.get(M), held.get(V))
    ]
    here = [each for each in open_ if each[3].device == open_[0][3].device]
    n = _coordinates([local(each[3]) for each in here], rows)
    return [_slot(*each, n) for each in here]


def is_open(m: Any, v: Any) -> bool:
    """Whether both moments are plain numbers that lie alike in memory, without gaps."""
    if not isinstance(m, Tensor) or not isinstance(v, Tensor):
        return False
    m, v = local(m), local(v)
    if type(m) is not Tensor or type(v) is not Tensor:  # in codes, as torchao's
        return False
    plain = (
        m.dtype in FORMATS
        and v.dtype in FORMATS
        and not m.is_complex()
        and m.layout == torch.strided
    )
    return plain and m.numel() > 0 and m.shape == v.shape and m.stride() == v.stride() and _dense(m)


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or x.numel() == 1 + sum(
        (n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)
    )


def _flat(x: Tensor) -> Tensor:
    """The numbers of a tensor without gaps, in the order they lie in."""
    return x.detach().as_strided((x.numel(),), (1,))


def _coordinates(moments: list[Tensor], rows: int) -> int:
    """How many coordinates of each tensor there is room for."""
    held = sum(2 * m.numel() * m.element_size() for m in moments)
    room = max(SMALL, SHARE * held) / (8 * rows * max(1, len(moments)))
    return min(MOST, max(LEAST, int(room)))


def _slot(
    name: str, p: Tensor, group: Mapping[str, Any], m: Any, v: Any, n: int
) -> RecordedCoordinates:
    step = spacing(local(m).shape, n)
    return RecordedCoordinates(name, p, group, m, v, step, len(range(0, local(m).numel(), step)))

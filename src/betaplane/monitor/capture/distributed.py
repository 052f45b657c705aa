"""Processes that train one model together: they read at the same steps, the same figures, and the
first one tells.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from betaplane.monitor.capture.sampling import RowRange

# how often this process has begun to watch parameters of these names and shapes
_WATCHED: Counter[str] = Counter()


class RankGroup:
    """This process among those that watch the same parameters.

    Processes that wait for one another hang where one does not come. So each says that it watches, in the store that
    they met by, and at the first step, which no process takes alone, one of them looks whether all do: only then do
    they go together. Else each watches its own part.

    Args:
        watched: each parameter's name, and the parameter.
        every: steps from one reading to the next; they go together where it is the same.

    Example:
        >>> ranks = RankGroup([("weight", torch.ones(2))], every=10)
        >>> ranks.settle(), ranks.first, ranks.sums([1.0, 2.0])
        (False, True, [1.0, 2.0])
    """

    def __init__(self, watched: Iterable[tuple[str, Tensor]], every: int) -> None:
        self.together, self.size, self.rank = False, 1, 0
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return
        self.size, self.rank = dist.get_world_size(), dist.get_rank()
        said = [every, *((name, tuple(p.shape)) for name, p in watched)]
        names = sha256(repr(said).encode()).hexdigest()[:16]
        self.key = f"betaplane/{names}/{_WATCHED[names]}"
        _WATCHED[names] += 1
        self.came = _store().add(f"{self.key}/came", 1)

    @property
    def first(self) -> bool:
        """Whether this process is the one that tells."""
        return self.rank == 0

    def settle(self) -> bool:
        """Whether all processes watch; to be called once, at the first step."""
        if self.size > 1:
            store = _store()
            mine = "all" if store.add(f"{self.key}/came", 0) == self.size else "some"
            self.together = store.compare_set(f"{self.key}/settled", "", mine) == b"all"
        return self.together

    def sums(self, values: Sequence[float], device: torch.device | None = None) -> list[float]:
        """Numbers added up over the processes that go together."""
        if not self.together:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.tolist()

    def joined(self, samples: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """One-dimensional samples of this process's parts, put together with the others', in the
        order of processes.

        Args:
            samples: as many on every process, of any length; on one device.
            dtype: what they are sent in, the same on every process.
        """
        if not self.together:
            return list(samples)
        flat = torch.cat([each.to(dtype) for each in samples])
        lengths = self._gathered(torch.tensor([len(each) for each in samples], device=flat.device))
        totals = [int(each.sum()) for each in lengths]
        padded = flat.new_zeros(max(totals))
        padded[: len(flat)] = flat
        found = self._gathered(padded)
        parts = [
            each[:total].split(split.tolist())
            for each, total, split in zip(found, totals, lengths, strict=True)
        ]
        return [torch.cat(same) for same in zip(*parts, strict=True)]

    def _gathered(self, mine: Tensor) -> list[Tensor]:
        found = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine)
        return found


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


def sharded(p: Any) -> bool:
    """Whether a process holds only its part of a tensor (torch's DTensor)."""
    return on_mesh(p) and not all(placement.is_replicate() for placement in p.placements)


def on_mesh(p: Any) -> bool:
    """Whether a tensor is torch's DTensor, whose module nobody may have loaded."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(p, module.DTensor)


def speaks(p: Any) -> bool:
    """Whether this process is the one to speak for its part of a tensor, of which others may hold
    copies.
    """
    if not sharded(p):
        return True
    place = p.device_mesh.get_coordinate() or [0] * p.device_mesh.ndim
    return all(
        at == 0
        for at, placement in zip(place, p.placements, strict=True)
        if placement.is_replicate()
    )


def placed(value: Any, p: Any) -> Any:
    """A tensor that is spread as p is, whose gradient may be spread otherwise, or not yet be added
    up.
    """
    if on_mesh(p) and on_mesh(value) and value.placements != p.placements:
        return value.redistribute(placements=p.placements)
    return value


def part(p: Any) -> RowRange | None:
    """Which rows of a tensor this process holds; None for a whole one, and for one that is not cut
    along its rows.
    """
    if not sharded(p) or [
        each for each in p.placements if not (each.is_replicate() or each.is_shard(0))
    ]:
        return None
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    _, offset = compute_local_shape_and_global_offset(p.shape, p.device_mesh, p.placements)
    return RowRange(tuple(p.shape), offset[0] if offset else 0)

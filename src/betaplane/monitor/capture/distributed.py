"""Coordination of the ranks that watch the same parameters, and queries about sharded tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from betaplane.monitor.capture.sampling import RowRange
from betaplane.tensors.dtensor import is_dtensor, redistribute_like

# how many times this process has started to watch parameters of these names and shapes
_TIMES_WATCHED: Counter[str] = Counter()


class RankGroup:
    """The ranks that watch the same parameters, seen from one of them.

    A collective hangs if one rank never joins. Each rank therefore registers in the rendezvous
    store, and collectives are used only if all of them have registered by the first step.
    Otherwise each rank watches its own part.

    Args:
        watched: each parameter's name, and the parameter.
        every: steps between readings, which must be the same on all ranks.

    Example:
        >>> ranks = RankGroup([("weight", torch.ones(2))], every=10)
        >>> ranks.start_collectives(), ranks.is_first, ranks.sum([1.0, 2.0])
        (False, True, [1.0, 2.0])
    """

    def __init__(self, watched: Iterable[tuple[str, Tensor]], every: int) -> None:
        self.collective = False  # whether all ranks take part in collectives
        self.size = 1
        self.rank = 0
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return
        self.size = dist.get_world_size()
        self.rank = dist.get_rank()
        description = [every, *((name, tuple(p.shape)) for name, p in watched)]
        digest = sha256(repr(description).encode()).hexdigest()[:16]
        self.key = f"betaplane/{digest}/{_TIMES_WATCHED[digest]}"
        _TIMES_WATCHED[digest] += 1
        _store().add(f"{self.key}/came", 1)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which reports."""
        return self.rank == 0

    def start_collectives(self) -> bool:
        """Use collectives if all ranks watch; call this once, at the first step."""
        if self.size > 1:
            store = _store()
            all_came = store.add(f"{self.key}/came", 0) == self.size
            decision = store.compare_set(f"{self.key}/settled", "", "all" if all_came else "some")
            self.collective = decision == b"all"
        return self.collective

    def sum(self, values: Sequence[float], device: torch.device | None = None) -> list[float]:
        """Sum numbers over the ranks."""
        if not self.collective:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.tolist()

    def gather_samples(
        self, samples: Sequence[Tensor], dtype: torch.dtype = torch.float32
    ) -> list[Tensor]:
        """Concatenate each one-dimensional sample with those of the other ranks, in rank order.

        Args:
            samples: the same number on every rank, of any length; on one device.
            dtype: the dtype of the transfer, the same on every rank.
        """
        if not self.collective:
            return list(samples)
        flat = torch.cat([sample.to(dtype) for sample in samples])
        lengths = torch.tensor([len(sample) for sample in samples], device=flat.device)
        lengths_by_rank = self._all_gather(lengths)
        totals = [int(rank_lengths.sum()) for rank_lengths in lengths_by_rank]
        padded = flat.new_zeros(max(totals))
        padded[: len(flat)] = flat
        samples_by_rank = [
            rank_flat[:total].split(rank_lengths.tolist())
            for rank_flat, total, rank_lengths in zip(
                self._all_gather(padded), totals, lengths_by_rank, strict=True
            )
        ]
        return [torch.cat(parts) for parts in zip(*samples_by_rank, strict=True)]

    def _all_gather(self, value: Tensor) -> list[Tensor]:
        gathered = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(gathered, value)
        return gathered


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


def is_sharded(p: Any) -> bool:
    """Whether a rank holds only its part of a tensor."""
    return is_dtensor(p) and not all(placement.is_replicate() for placement in p.placements)


def is_owner(p: Any) -> bool:
    """Whether this rank reports its part of a tensor; other ranks may hold copies of that part."""
    if not is_sharded(p):
        return True
    coordinate = p.device_mesh.get_coordinate() or [0] * p.device_mesh.ndim
    return all(
        position == 0
        for position, placement in zip(coordinate, p.placements, strict=True)
        if placement.is_replicate()
    )


def shard_like(value: Any, p: Any) -> Any:
    """A DTensor with p's placements: a gradient may be sharded otherwise, or not yet be summed."""
    if is_dtensor(p) and is_dtensor(value):
        return redistribute_like(value, p, rows=True)
    return value


def local_rows(p: Any) -> RowRange | None:
    """The rows of a tensor that this rank holds; None if it is whole or not sharded by rows."""
    if not is_sharded(p) or not all(
        placement.is_replicate() or placement.is_shard(0) for placement in p.placements
    ):
        return None
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    _, offset = compute_local_shape_and_global_offset(p.shape, p.device_mesh, p.placements)
    return RowRange(tuple(p.shape), offset[0] if offset else 0)


def shard_count(p: Any) -> int:
    """The number of different parts that a sharded tensor is split into."""
    shards = 1
    for size, placement in zip(p.device_mesh.shape, p.placements, strict=True):
        if not placement.is_replicate():
            shards *= size
    return shards

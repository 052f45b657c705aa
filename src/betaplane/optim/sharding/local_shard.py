"""One rank's shard of a parameter and of its state, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from betaplane.optim.blocks import row_length
from betaplane.optim.step.dependence import is_mean
from betaplane.optim.storage_formats import SCALE
from betaplane.tensors.dtensor import is_dtensor, local_tensor, redistribute_like, sum_over_ranks


class LocalShard:
    """This rank's shard of a parameter: x, a plain tensor in the same memory, and its state.

    Its methods must be called under `torch.no_grad`.

    A rank may have no elements. Then x is a placeholder of one element with gradient 0, so that steps are counted and
    states are created on that rank as well.
    """

    def __init__(self, p: Any) -> None:
        self.p, self.local_p = p, local_tensor(p)
        self.state: dict[str, Any] = {}
        self.is_empty = self.local_p.numel() == 0
        shape = [size or 1 for size in self.local_p.shape]
        self.x = self.local_p.new_zeros(shape) if self.is_empty else self.local_p.detach()
        self.by_rows = is_sharded_by_rows(p)
        self.x.whole_numel = p.numel()  # type: ignore[attr-defined]

    def fits(self) -> bool:
        """Whether the parameter's memory is the same as when the shard was made."""
        now, then = local_tensor(self.p), self.local_p
        same = now.shape == then.shape and now.stride() == then.stride()
        return same and now.dtype == then.dtype and now.data_ptr() == then.data_ptr()

    def load(self, param_state: Mapping[str, Any]) -> None:
        """Take the parameter's gradient and state into the shard."""
        self.x.grad = None if self.p.grad is None else self.local(self.p.grad)
        for key in set(self.state) - set(param_state):
            del self.state[key]
        for key, value in param_state.items():
            if not self._is_loaded(key, value):
                self.state[key] = self.local(value) if self._is_sharded(value) else value

    def _is_loaded(self, key: str, value: Any) -> bool:
        """Whether the shard already has the local part of a tensor of the state."""
        known = self.state.get(key)
        if known is None or not is_dtensor(value):
            return False
        return self.is_empty or local_tensor(value) is known

    def _is_sharded(self, value: Any) -> bool:
        if is_dtensor(value):
            return True
        return isinstance(value, Tensor) and value.dim() > 0 and value.shape == self.p.shape

    def local(self, value: Tensor) -> Tensor:
        """This rank's part of a tensor like the parameter, or of one with an entry per row of it."""
        part = local_tensor(redistribute_like(value, self.p, rows=True))
        return part.new_zeros([size or 1 for size in part.shape]) if self.is_empty else part

    def store(self, param_state: dict[str, Any]) -> None:
        """Write what is new in the shard's state into the parameter's; the rest was changed in
        place.
        """
        for key in set(param_state) - set(self.state):
            del param_state[key]
        for key, value in self.state.items():
            old: Any = param_state.get(key)
            if is_dtensor(old) and (self.is_empty or local_tensor(old) is value):
                continue
            sharded = isinstance(value, Tensor) and value.dim() > 0
            sharded = sharded and (self.by_rows or not key.endswith(SCALE))
            param_state[key] = self.distributed(value) if sharded else value
        self.x.grad = None

    def distributed(self, value: Tensor) -> Any:
        """The DTensor of which value is this rank's part."""
        from torch.distributed.tensor import DTensor

        p, like = self.p, value.shape == self.x.shape
        replicated = all(placement.is_replicate() for placement in p.placements)
        rows = value.shape[0] if replicated else p.shape[0]
        shape = p.shape if like else torch.Size([rows, *value.shape[1:]])
        stride = p.stride() if like else torch.empty(shape, device="meta").stride()
        if self.is_empty:
            value = value.new_empty(self.local_p.shape if like else (0, *value.shape[1:]))
        return DTensor.from_local(
            value, p.device_mesh, p.placements, run_check=False, shape=shape, stride=stride
        )


def is_sharded_by_rows(p: Any) -> bool:
    """Whether each rank has whole rows of p, and therefore the scales of its 8-bit states."""
    wide = p.dim() > 1 and row_length(p.shape) < p.numel()
    return all(
        placement.is_replicate()
        or (wide and type(placement).__name__ == "Shard" and placement.is_shard(0))
        for placement in p.placements
    )


class GlobalMeans(TorchFunctionMode):
    """Makes the mean over a local shard the mean over the whole tensor; all ranks must compute it."""

    def __init__(self, shard: LocalShard) -> None:
        super().__init__()
        self.shard = shard
        self.count = shard.p.numel() * (2 if shard.p.is_complex() else 1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function; sum a mean over all ranks."""
        if not is_mean(func, args, kwargs):
            return func(*args, **(kwargs or {}))
        (x,) = args
        dtype = torch.promote_types(x.dtype, torch.float32)
        total = x.new_zeros((), dtype=dtype) if self.shard.is_empty else x.sum(dtype=dtype)
        return (sum_over_ranks(total, self.shard.p) / self.count).to(x.dtype)

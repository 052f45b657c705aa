"""What a process holds of a sharded parameter and of its state, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from betaplane.optim.step.dependence import is_mean
from betaplane.optim.storage_formats import SCALE, row
from betaplane.tensors.dtensor import is_dtensor, local_tensor, redistribute_like, sum_over_ranks


class LocalShard:
    """What this process holds of a sharded parameter: x, a plain tensor in the same memory, and its
    state.

    Its methods are for use under `torch.no_grad`.

    A process may hold nothing. Then x is a stand-in, one number with gradient 0, so that there, too, steps are counted
    and states made.
    """

    def __init__(self, p: Any) -> None:
        self.p, self.home, self.held = p, local_tensor(p), {}
        self.empty = self.home.numel() == 0
        shape = [size or 1 for size in self.home.shape]
        self.x = self.home.new_zeros(shape) if self.empty else self.home.detach()
        self.by_rows = by_rows(p)
        self.x.whole_numel = p.numel()  # type: ignore[attr-defined]

    def fits(self) -> bool:
        """Whether the parameter lies where it lay."""
        home = local_tensor(self.p)
        same = (
            home.shape == self.home.shape
            and home.stride() == self.home.stride()
            and home.dtype == self.home.dtype
        )
        return same and home.data_ptr() == self.home.data_ptr()

    def take(self, held: Mapping[str, Any]) -> None:
        """Bring in the gradient and the parameter's state."""
        self.x.grad = None if self.p.grad is None else self.part(self.p.grad)
        for word in set(self.held) - set(held):
            del self.held[word]
        for word, value in held.items():
            known = self.held.get(word)
            same = (
                is_dtensor(value)
                and known is not None
                and (self.empty or local_tensor(value) is known)
            )
            if not same:
                spread = is_dtensor(value) or (
                    isinstance(value, Tensor) and value.shape == self.p.shape and value.dim()
                )
                self.held[word] = self.part(value) if spread else value

    def part(self, value: Tensor) -> Tensor:
        """This process's part of a tensor like the parameter, or of one with something for each of
        its rows.
        """
        found = local_tensor(redistribute_like(value, self.p, rows=True))
        return found.new_zeros([size or 1 for size in found.shape]) if self.empty else found

    def give(self, held: dict[str, Any]) -> None:
        """Put into the parameter's state what is new; the rest has been changed in place."""
        for word in set(held) - set(self.held):
            del held[word]
        for word, value in self.held.items():
            old: Any = held.get(word)
            if not is_dtensor(old) or not (self.empty or local_tensor(old) is value):
                spread = (
                    isinstance(value, Tensor)
                    and value.dim()
                    and (self.by_rows or not word.endswith(SCALE))
                )
                held[word] = self.whole(value) if spread else value
        self.x.grad = None

    def whole(self, value: Tensor) -> Any:
        """The tensor of which value is this process's part."""
        from torch.distributed.tensor import DTensor

        p, like = self.p, value.shape == self.x.shape
        rows = value.shape[0] if all(one.is_replicate() for one in p.placements) else p.shape[0]
        shape = p.shape if like else torch.Size([rows, *value.shape[1:]])
        stride = p.stride() if like else torch.empty(shape, device="meta").stride()
        value = (
            value.new_empty(self.home.shape if like else (0, *value.shape[1:]))
            if self.empty
            else value
        )
        return DTensor.from_local(
            value, p.device_mesh, p.placements, run_check=False, shape=shape, stride=stride
        )


def by_rows(p: Any) -> bool:
    """Whether each process has whole rows of p, and so the scales of its states in 8 bits."""
    wide = p.dim() > 1 and row(p.shape) < p.numel()
    plain = [wide and type(one).__name__ == "Shard" and one.is_shard(0) for one in p.placements]
    return all(one.is_replicate() or yes for one, yes in zip(p.placements, plain, strict=True))


class Means(TorchFunctionMode):
    """While it is on, the mean over a part is the mean over the whole tensor; all processes have to
    be at it.
    """

    def __init__(self, part: LocalShard) -> None:
        super().__init__()
        self.part = part
        self.count = part.p.numel() * (2 if part.p.is_complex() else 1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function; for a mean, add up over all processes."""
        if not is_mean(func, args, kwargs):
            return func(*args, **(kwargs or {}))
        (x,) = args
        wide = torch.promote_types(x.dtype, torch.float32)
        total = x.new_zeros((), dtype=wide) if self.part.empty else x.sum(dtype=wide)
        return (sum_over_ranks(total, self.part.p) / self.count).to(x.dtype)

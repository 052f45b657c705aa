"""Detect what torch.func would lose without an error: hooks, writes into tensors outside of the
stack, special modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from betaplane.problems.snapshot import GLOBAL_HOOKS
from betaplane.replicas.objective import Objective

LOST_CALLS = {  # functions of a tensor that the stack would not repeat
    "register_hook": "registers a hook on a tensor",
    "register_post_accumulate_grad_hook": "registers a hook on a tensor",
    "grad_fn": "creates a parameter or reads grad_fn",
    "grad": "reads .grad",
}


def structural_obstacle(objective: Objective) -> str:
    """Why the modules and tensors of an objective cannot be stacked, or ""."""
    return next(_structural_obstacles(objective), "")


def _structural_obstacles(objective: Objective) -> Iterator[str]:
    if any(GLOBAL_HOOKS.values()):
        yield "hooks are registered for all modules"
    for name, part in objective.named_modules():
        if isinstance(part, torch.jit.ScriptModule | nn.DataParallel) or hasattr(part, "_orig_mod"):
            yield f"{name} is a {type(part).__name__}"
        if part._backward_hooks or part._backward_pre_hooks:
            yield f"{name} has a backward hook"
    for name, tensor in (*objective.named_parameters(), *objective.named_buffers()):
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            yield f"{name} has a gradient hook"
        if tensor.is_complex():
            yield f"{name} is complex"
        if type(tensor.data) is not Tensor or tensor.layout is not torch.strided:
            yield f"{name} is a {type(tensor.data).__name__} of layout {tensor.layout}"


def tensor_properties(objective: Objective) -> dict[str, tuple]:
    """The properties that must not change while a stack is trained: shape, dtype, address and
    requires_grad of all tensors, by name.
    """
    params = {
        name: (id(p), p.data_ptr(), p.requires_grad, p.shape, p.dtype)
        for name, p in objective.named_parameters(remove_duplicate=False)
    }
    return params | {
        name: (b.shape, b.dtype) for name, b in objective.named_buffers(remove_duplicate=False)
    }


def forward_obstacle(
    objective: Objective, gradients: Callable[[Any], Any], x: Tensor, y: Tensor
) -> str:
    """Compute gradients and observe every operation; return what a stack would lose, or "".

    Args:
        objective: the objective that is trained.
        gradients: computes its gradients for a minibatch.
        x: the minibatch, a copy.
        y: its targets, a copy.
    """
    buffers = {name: (b, b._version) for name, b in objective.named_buffers()}
    calls, writes = _Calls(), _Writes()
    with writes, calls:
        gradients((x, y))
    if calls.lost:
        return f"the forward pass {calls.lost}"
    places = {_place(p): name for name, p in objective.named_parameters()}
    places |= {_place(x): "its input", _place(y): "its target"}
    written_buffers = {_place(b) for b, version in buffers.values() if b._version != version}
    for place in writes.outside - written_buffers:
        return f"the forward pass writes into {places.get(place, 'a tensor that is not a buffer')}"
    return ""


class _Calls(TorchFunctionMode):
    """Records calls of functions that a stack would lose."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = ""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        elif name == "grad":  # torch.autograd.grad, which a stack repeats
            name = ""
        self.lost = self.lost or LOST_CALLS.get(name, "")
        return func(*args, **(kwargs or {}))


class _Writes(TorchDispatchMode):
    """Records writes into memory that the observed operations did not allocate."""

    def __init__(self) -> None:
        super().__init__()
        self.allocated: set[int] = set()
        self.outside: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        written = {_place(tensor) for tensor in _written_tensors(func, args, kwargs)}
        before = {
            _place(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)
        }
        out = func(*args, **kwargs)
        self.outside |= written - self.allocated - {0}
        self.allocated |= {
            _place(tensor) for tensor in tree_leaves(out) if isinstance(tensor, Tensor)
        } - before
        return out


def _written_tensors(func: Any, args: tuple, kwargs: dict) -> Iterator[Tensor]:
    """The tensors that an operation writes into."""
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _place(tensor: Tensor) -> int:
    """The address of a tensor's memory; 0 if it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse, or a wrapper
        return 0

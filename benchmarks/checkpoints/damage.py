"""What goes wrong with an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.checkpoints.trainers import Damage


def states(optimizer: Any) -> list[dict[str, Any]]:
    """The state of each parameter, in the order of the groups."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return [optimizer.state[p] for p in params if optimizer.state.get(p)]


def one(change: Callable[[dict[str, Any]], None], index: int = 0) -> Damage:
    """Apply a change to the state of one parameter."""

    def damage(optimizer: Any) -> None:
        change(states(optimizer)[index])

    return damage


def every(change: Callable[[dict[str, Any]], None]) -> Damage:
    """Apply a change to the state of each parameter."""

    def damage(optimizer: Any) -> None:
        for state in states(optimizer):
            change(state)

    return damage


def group(**settings: Any) -> Damage:
    """Change settings of all groups."""

    def damage(optimizer: Any) -> None:
        for entry in optimizer.param_groups:
            entry.update(settings)

    return damage


def zero(key: str) -> Callable[[dict[str, Any]], None]:
    """Return a change that loses a tensor's values."""

    def change(state: dict[str, Any]) -> None:
        state[key].zero_()

    return change


def fill(key: str, value: float, elements: int = 1) -> Callable[[dict[str, Any]], None]:
    """Return a change that sets the first elements to a value."""

    def change(state: dict[str, Any]) -> None:
        state[key].view(-1)[:elements] = value

    return change


def scale(key: str, factor: float) -> Callable[[dict[str, Any]], None]:
    """Return a change that multiplies a tensor."""

    def change(state: dict[str, Any]) -> None:
        state[key].mul_(factor)

    return change


def cast(dtype: torch.dtype) -> Callable[[dict[str, Any]], None]:
    """Return a change that keeps all tensors in another dtype, counts too."""

    def change(state: dict[str, Any]) -> None:
        for key, value in state.items():
            state[key] = value.to(dtype) if torch.is_tensor(value) else value

    return change


def count(step: float) -> Callable[[dict[str, Any]], None]:
    """Return a change that sets the step count."""

    def change(state: dict[str, Any]) -> None:
        old = state["step"]
        state["step"] = torch.full_like(old, step) if torch.is_tensor(old) else int(step)

    return change


def lose_half(state: dict[str, Any]) -> None:
    """Zero the second half of v, as a shard that was not written."""
    v = state["exp_avg_sq"].view(-1)
    v[len(v) // 2 :] = 0


def swap_moments(state: dict[str, Any]) -> None:
    """Exchange m and v."""
    state["exp_avg"], state["exp_avg_sq"] = state["exp_avg_sq"], state["exp_avg"]


def truncate(state: dict[str, Any]) -> None:
    """Keep the first half of the rows of v."""
    state["exp_avg_sq"] = state["exp_avg_sq"][: len(state["exp_avg_sq"]) // 2].clone()


def rotate(optimizer: Any) -> None:
    """Give each parameter the state of the next one, as if groups were built in another order."""
    params = [p for entry in optimizer.param_groups for p in entry["params"]]
    moved = [optimizer.state[p] for p in params[1:] + params[:1]]
    for p, state in zip(params, moved, strict=True):
        optimizer.state[p] = state

"""A step of sharded parameters: of the part that a process holds, wherever the rule does not look
further than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.sharding.local_shard import LocalShard, Means
from betaplane.optim.step.dependence import kind_of, reach
from betaplane.optim.step.reference import STATE, estimate
from betaplane.tensors.dtensor import (
    full_tensor,
    group_by_placement,
    is_dtensor,
    redistribute_like,
    sum_scalar,
)

Group = dict[str, Any]
Once = Callable[[], None]
GATHERED: set[tuple] = set()  # rules and placements that torch's DTensor cannot compute


def step_all(optimizer: Any, once: Once) -> None:
    """Step every parameter of an optimizer; those on a mesh in the way their rule allows.

    - By numbers: the parts that this process holds are stepped in place of the parameters, on whatever path plain
      tensors take.
    - With means over the tensor: the same, operation by operation, and a mean is a sum over all
      processes.
    - By the tensor's shape: as torch's DTensor computes it, or where that lacks an operation, every process steps the
      whole tensor, brought together for it.

    Args:
        optimizer: one of this package's.
        once: steps what the optimizer's `param_groups` hold at that time, with the states in its `state`.
    """
    if not any(is_dtensor(p) for group in optimizer.param_groups for p in group["params"]):
        once()
        return
    rest = []
    for group in optimizer.param_groups:
        far = [p for p in group["params"] if moves(group, p)]
        way = reach(optimizer.rule_of(group)) if far else "number"
        for p in far if way != "number" else ():
            if p.grad is not None and p.numel() > 0:
                (_with_means if way == "mean" else _by_shape)(optimizer, group, p, once)
        rest.append(
            {
                **group,
                "params": [p for p in group["params"] if way == "number" or not moves(group, p)],
            }
        )
    for groups in _measurable(rest) if optimizer.max_norm is not None else [rest]:
        _by_parts(optimizer, groups, once)


def _measurable(groups: list[Group]) -> list[list[Group]]:
    """The same, parted so that the lengths of updates can be added up: on a mesh in one way, or on
    none.
    """
    params = [p for group in groups for p in group["params"]]
    found = [{params[i] for i in places} for places in group_by_placement(params).values()]
    return [
        [{**group, "params": [p for p in group["params"] if p in some]} for group in groups]
        for some in found
    ]


def moves(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether p is on a mesh and its step can be taken elsewhere: no gradient is to go through it."""
    return is_dtensor(p) and not group.get("differentiable")


@contextmanager
def _instead(
    optimizer: Any, groups: list[Group], states: Mapping[Tensor, Any]
) -> Iterator[dict[Tensor, Any]]:
    """Other parameters and states in an optimizer for a while; yields its states."""
    kept = optimizer.param_groups, optimizer.state
    optimizer.param_groups, optimizer.state = groups, defaultdict(dict, states)
    try:
        yield optimizer.state
    finally:
        optimizer.param_groups, optimizer.state = kept


@contextmanager
def _eagerly(optimizer: Any) -> Iterator[None]:
    """Operation by operation, since machine code would take the means of the part; what it keeps is
    kept from this.
    """
    path, lists = optimizer.path, optimizer.__dict__.pop("_swept", {})
    optimizer.path = "eager"
    try:
        yield
    finally:
        optimizer.path, optimizer._swept = path, lists


def _by_parts(optimizer: Any, groups: list[Group], once: Once) -> None:
    """Each process its own part; what is not on a mesh as it is."""
    states, parts = optimizer.state, {}
    with torch.no_grad():
        for p in (p for group in groups for p in group["params"] if moves(group, p)):
            parts[p] = _part(optimizer, p)
            parts[p].take(states.get(p, {}))
    own = [
        {**group, "params": [parts[p].x if p in parts else p for p in group["params"]]}
        for group in groups
    ]
    kept = {
        p: states[p] for group in groups for p in group["params"] if p in states and p not in parts
    }
    before = optimizer._squared
    with _instead(optimizer, own, kept | {part.x: part.held for part in parts.values()}) as stepped:
        once()
    if optimizer.max_norm is not None and parts:
        optimizer._squared = before + sum_scalar(optimizer._squared - before, next(iter(parts)))
    with torch.no_grad():
        for p, part in parts.items():
            part.held = stepped.pop(part.x)
            if part.held or p in states:
                part.give(states[p])
    states.update(stepped)


def _part(optimizer: Any, p: Tensor) -> LocalShard:
    """This process's part of p, the same as at the step before if p lies where it lay."""
    known = optimizer.__dict__.setdefault("_parts", {})
    if p not in known or not known[p].fits():
        known[p] = LocalShard(p)
    return known[p]


def _with_means(optimizer: Any, group: Group, p: Any, once: Once) -> None:
    """Each process its own part, all at the same time."""

    def summed() -> None:
        with _eagerly(optimizer), Means(_part(optimizer, p)):
            once()

    _by_parts(optimizer, [{**group, "params": [p]}], summed)


@torch.no_grad()
def _by_shape(optimizer: Any, group: Group, p: Any, once: Once) -> None:
    """By torch's DTensor, or on the whole tensor; on copies, since DTensor may lack an operation
    halfway.
    """
    key = (kind_of(optimizer.rule_of(group)), p.shape, p.placements)
    state, g = _settled(optimizer, optimizer.state[p], p), redistribute_like(p.grad, p)
    done = None
    if key not in GATHERED:
        try:
            done = _stepped(
                optimizer, group, p.detach().clone(), g, _each(torch.clone, state), once
            )
        except (NotImplementedError, RuntimeError):
            GATHERED.add(key)
    if done is None:
        done = _stepped(
            optimizer,
            group,
            full_tensor(p).clone(),
            full_tensor(g),
            _each(full_tensor, state),
            once,
        )
    x, new = done
    p.copy_(redistribute_like(x, p))
    if optimizer._zeroes:
        p.grad.zero_()
    optimizer.state[p] = _settled(optimizer, new, p)


def _stepped(
    optimizer: Any, group: Group, x: Tensor, g: Tensor, held: dict[str, Any], once: Once
) -> tuple[Tensor, dict[str, Any]]:
    """A parameter and its state after a step."""
    x.grad = g
    with _eagerly(optimizer), _instead(optimizer, [{**group, "params": [x]}], {x: held}) as states:
        once()
    return x, states[x]


def _settled(optimizer: Any, held: dict[str, Any], p: Any) -> dict[str, Any]:
    """A state as it is kept: what is like p is placed as p, other tensors are on p's mesh, numbers
    are plain.
    """
    theirs, torchs = (getattr(optimizer, word, dict) for word in ("_rules_state", "_torchs_state"))
    return torchs(_each(lambda value: _at_home(value, p), theirs(held))) if held else {}


def _at_home(value: Tensor, p: Any) -> Tensor:
    if value.dim() == 0:
        return full_tensor(value)
    kept = is_dtensor(value) and not any(one.is_partial() for one in value.placements)  # type: ignore[attr-defined]
    return value if kept else redistribute_like(value, p)


def _each(function: Callable[[Tensor], Tensor], held: Mapping[str, Any]) -> dict[str, Any]:
    """A state with its tensors replaced."""
    return {
        word: function(value) if isinstance(value, Tensor) else value
        for word, value in held.items()
    }


def estimate_part(
    rule: Any, p: Any, h: Tensor, held: dict[str, Any], words: Mapping[str, str] = STATE
) -> None:
    """Take an estimate of the curvature of a parameter on a mesh into its state, in each process's
    own part.
    """
    part = LocalShard(p)
    part.take(held)
    estimate(rule, part.x, part.part(h), part.held, words)
    part.give(held)

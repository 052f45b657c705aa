"""Step sharded parameters: each rank steps its local shard, as far as the rule allows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from betaplane.optim.sharding.local_shard import GlobalMeans, LocalShard
from betaplane.optim.step.dependence import dependence, rule_structure
from betaplane.optim.step.reference import update_curvature
from betaplane.optim.step.step_spec import StepSpec
from betaplane.tensors.dtensor import (
    full_tensor,
    group_by_placement,
    is_dtensor,
    redistribute_like,
    sum_scalar,
)

Group = dict[str, Any]
IndexedGroup = tuple[int, Group]
GATHERED: set[tuple] = set()  # rules and placements that torch's DTensor cannot compute


class StepGroups(Protocol):
    """Steps groups of parameters with the given states; see `dispatch.step_groups`."""

    def __call__(
        self, groups: list[IndexedGroup], states: dict[Tensor, Any], *, eager: bool = False
    ) -> None:
        """Step the parameters."""


def step_sharded(optimizer: Any, step_groups: StepGroups) -> None:
    """Step every parameter of an optimizer, sharded ones as their rule allows.

    - Elementwise rules: the local shards are stepped in place of the parameters, on any path that
      plain tensors take.
    - Rules with means over the tensor: the same, eagerly, and a mean is summed over all ranks.
    - Rules that depend on shape: DTensor computes them; if it lacks an operation, every rank gathers the whole tensor
      and steps it.

    Args:
        optimizer: one of this package's.
        step_groups: steps groups of plain parameters.
    """
    rest = []
    for i, group in enumerate(optimizer.param_groups):
        sharded = [p for p in group["params"] if is_stepped_in_shards(group, p)]
        with_gradient = [p for p in sharded if p.grad is not None]
        needs = "elementwise"
        if with_gradient:
            needs = dependence(optimizer._checks.groups[i].spec.rule)
        if not sharded or (with_gradient and needs == "elementwise"):
            rest.append((i, group))
            continue
        step = _step_with_means if needs == "reduction" else _step_by_shape
        for p in with_gradient:
            if p.numel() > 0:
                step(optimizer, i, group, p, step_groups)
        plain = [p for p in group["params"] if not is_stepped_in_shards(group, p)]
        rest.append((i, {**group, "params": plain}))
    parts = _split_by_placement(rest) if optimizer.max_norm is not None else [rest]
    for groups in parts:
        _step_local_shards(optimizer, groups, step_groups)


def is_stepped_in_shards(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether p is sharded and its local shard is stepped in its place: no gradient flows through
    the step.
    """
    return is_dtensor(p) and not group.get("differentiable")


def _split_by_placement(groups: list[IndexedGroup]) -> list[list[IndexedGroup]]:
    """The groups once per placement of their parameters, so that norms of updates can be summed
    over ranks.
    """
    params = [p for _, group in groups for p in group["params"]]
    members = [{params[i] for i in indices} for indices in group_by_placement(params).values()]
    return [
        [(i, {**group, "params": [p for p in group["params"] if p in some]}) for i, group in groups]
        for some in members
    ]


def _step_local_shards(optimizer: Any, groups: list[IndexedGroup], step_groups: StepGroups) -> None:
    """Step each sharded parameter's local shard, and other parameters as they are."""
    states, shards = optimizer.state, {}
    params = [(group, p) for _, group in groups for p in group["params"]]
    for group, p in params:
        if is_stepped_in_shards(group, p):
            shards[p] = _local_shard(optimizer, p)
            shards[p].load(states.get(p, {}))
    local_groups = [
        (i, {**group, "params": [shards[p].x if p in shards else p for p in group["params"]]})
        for i, group in groups
    ]
    local_states = defaultdict(dict)
    local_states.update({p: states[p] for _, p in params if p in states and p not in shards})
    local_states.update({shard.x: shard.state for shard in shards.values()})
    before = optimizer._squared_update
    step_groups(local_groups, local_states)
    if optimizer.max_norm is not None and shards:
        local = optimizer._squared_update - before
        optimizer._squared_update = before + sum_scalar(local, next(iter(shards)))
    for p, shard in shards.items():
        shard.state = local_states.pop(shard.x)
        if shard.state or p in states:
            shard.store(states[p])
    states.update(local_states)


def _local_shard(optimizer: Any, p: Tensor) -> LocalShard:
    """This rank's shard of p; that of the last step if p's memory is the same."""
    shards = optimizer._local_shards
    if p not in shards or not shards[p].fits():
        shards[p] = LocalShard(p)
    return shards[p]


def _step_with_means(optimizer: Any, i: int, group: Group, p: Any, step_groups: StepGroups) -> None:
    """Step the local shards of one parameter on all ranks at the same time, with means over all of
    them.
    """

    def step_with_means(
        groups: list[IndexedGroup], states: dict[Tensor, Any], *, eager: bool = False
    ) -> None:
        with GlobalMeans(_local_shard(optimizer, p)):
            step_groups(groups, states, eager=True)

    _step_local_shards(optimizer, [(i, {**group, "params": [p]})], step_with_means)


def _step_by_shape(optimizer: Any, i: int, group: Group, p: Any, step_groups: StepGroups) -> None:
    """Step one parameter as a DTensor, or gathered on every rank.

    Copies are stepped, since DTensor may lack an operation halfway.
    """
    rule = optimizer._checks.groups[i].spec.rule
    key = (rule_structure(rule), p.shape, p.placements)
    state, g = _distributed_state(optimizer, optimizer.state[p], p), redistribute_like(p.grad, p)

    def step(x: Tensor, g: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        x.grad = g
        states = defaultdict(dict, {x: state})
        step_groups([(i, {**group, "params": [x]})], states, eager=True)
        return x, states[x]

    stepped = None
    if key not in GATHERED:
        try:
            stepped = step(p.detach().clone(), g, _map_tensors(torch.clone, state))
        except (NotImplementedError, RuntimeError):
            GATHERED.add(key)
    if stepped is None:
        gathered = _map_tensors(full_tensor, state)
        stepped = step(full_tensor(p).clone(), full_tensor(g), gathered)
    x, new_state = stepped
    p.copy_(redistribute_like(x, p))
    if optimizer._zero_in_step:
        p.grad.zero_()
    optimizer.state[p] = _distributed_state(optimizer, new_state, p)


def _distributed_state(optimizer: Any, state: dict[str, Any], p: Any) -> dict[str, Any]:
    """A state as it is stored: tensors like p are sharded as p, others are DTensors, numbers are
    plain.
    """
    if not state:
        return {}
    rule_state = optimizer._rule_state(state)
    return optimizer._torch_state(_map_tensors(lambda value: _distribute(value, p), rule_state))


def _distribute(value: Tensor, p: Any) -> Tensor:
    if value.dim() == 0:
        return full_tensor(value)
    placements = value.placements if is_dtensor(value) else ()  # type: ignore[attr-defined]
    if placements and not any(placement.is_partial() for placement in placements):
        return value
    return redistribute_like(value, p)


def _map_tensors(function: Callable[[Tensor], Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """A state with a function applied to its tensors."""
    return {
        key: function(value) if isinstance(value, Tensor) else value for key, value in state.items()
    }


def update_shard_curvature(spec: StepSpec, p: Any, h: Tensor, param_state: dict[str, Any]) -> None:
    """Add an estimate of a sharded parameter's curvature to its state, on each rank's own shard."""
    shard = LocalShard(p)
    shard.load(param_state)
    update_curvature(spec, shard.x, shard.local(h), shard.state)
    shard.store(param_state)

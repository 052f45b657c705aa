"""Dispatch a step: choose which implementation steps each parameter, and call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.codegen.availability import COMPILE_FAILURES
from betaplane.optim.rule_step import step_by_rule
from betaplane.optim.sharding.step import step_sharded
from betaplane.optim.step.checked_kernels import has_checked_kernel, kernel_can_step
from betaplane.optim.step.fused_adam import FusedAdam
from betaplane.optim.step.preconditions import CheckedGroup
from betaplane.optim.step.torch_step import torch_step
from betaplane.tensors.dtensor import PLAIN_TYPES, is_dtensor

PATHS = ("auto", "eager", "compiled")
MIN_COMPILED_ELEMENTS = 2**16  # of a group, from which compiling (half a second, once) is worth it

PLAIN = frozenset(PLAIN_TYPES)
Group = dict[str, Any]
IndexedGroup = tuple[int, Group]  # a group, possibly with other parameters, and its index


class StepPath(Enum):
    """Which implementation steps a parameter."""

    FUSED = "fused"
    TORCH_LOOP = "torch"
    COMPILED = "compiled"
    EAGER = "eager"
    SHARDED = "sharded"


@dataclass(eq=False)
class GroupFacts:
    """What decides the paths of a group's parameters in this step, besides the parameters
    themselves.
    """

    optimizer: Any
    checked: CheckedGroup
    index: int
    group: Group
    params: list[Tensor]  # those to step
    eager: bool  # whether steps by the rule must not be compiled
    by_torch: bool = False  # torch computes all that the group's options request, and is preferred
    fused: bool = (
        False  # the options allow torch's fused kernel, and it was checked for a parameter
    )
    fused_lists: bool = False  # it may be called with cached lists
    has_momentum: bool = False  # some of the parameters have a momentum buffer
    _compiled: bool | None = None  # None until it is needed

    @property
    def compiled(self) -> bool:
        """Whether steps by the rule are compiled."""
        if self._compiled is None:  # a step of few tensors notices the calls of a descriptor
            path = self.optimizer.path
            allowed = not (self.eager or path == "eager" or COMPILE_FAILURES)
            if allowed and path == "auto":
                allowed = sum(map(Tensor.numel, self.params)) >= MIN_COMPILED_ELEMENTS and all(
                    p.device.type == "cpu" for p in self.params
                )
            self._compiled = allowed and self.checked.can_compile
        return self._compiled


def choose_path(p: Tensor, facts: GroupFacts, param_state: Mapping[str, Any]) -> StepPath:
    """Which implementation steps a parameter: the first row that applies.

    | condition | path |
    |---|---|
    | p is a DTensor, and its group is not `differentiable` | SHARDED |
    | torch steps the group, p's gradient and state have p's dtype, and the fused kernel can step p | FUSED |
    | torch steps the group, p's gradient and state have p's dtype | TORCH_LOOP |
    | steps by the rule are compiled | COMPILED |
    | otherwise | EAGER |

    Torch steps a group if torch's class computes all that its options request, unless compiled code is preferred: with
    `path="compiled"`, or with `path="auto"` if torch has only a loop. Compiled code is never preferred if `fused` or
    `foreach` is set, or if lr or betas are tensors, or with `capturable`, `differentiable` or sparse gradients.

    The fused kernel can step p if `fused=True` is set, or neither `fused` nor `foreach` is and the kernel was checked
    for p's dtype and device; p must be dense. It cannot start momentum for one parameter among others that have it.

    Steps by the rule are compiled with `path="compiled"`, or with `path="auto"` if the group's parameters have at least
    MIN_COMPILED_ELEMENTS elements and are on the CPU; and if the rule's operations are those of elements and of
    means over rows, columns, blocks and tensors, its options are numbers, and this machine has a compiler. A parameter
    for which no code can be generated (a view, a dtype that C lacks) is stepped as in EAGER.

    A SHARDED parameter is replaced by its local shard, for which the table is read again; if the rule depends on means
    or on shape, it is stepped as in EAGER, see sharding/step.py.

    Args:
        p: a parameter with a gradient.
        facts: of its group.
        param_state: torch's state of p.
    """
    if type(p) not in PLAIN_TYPES and is_dtensor(p) and not facts.group.get("differentiable"):
        return StepPath.SHARDED
    if facts.by_torch and not _has_mixed_dtypes(p, param_state):
        late = facts.has_momentum and param_state.get("momentum_buffer") is None
        if facts.fused and not late and kernel_can_step(facts.optimizer.torch_name, facts.group, p):
            return StepPath.FUSED
        return StepPath.TORCH_LOOP
    return StepPath.COMPILED if facts.compiled else StepPath.EAGER


def _has_mixed_dtypes(p: Tensor, param_state: Mapping[str, Any]) -> bool:
    """Whether p's gradient or state has another dtype than p, as after `model.bfloat16()` between
    steps.
    """
    if p.grad is not None and p.grad.dtype != p.dtype:
        return True
    tensors = [value for value in param_state.values() if isinstance(value, Tensor)]
    return any(value.dtype != p.dtype for value in tensors if value.dim() > 0)


def group_facts(
    optimizer: Any,
    checked: CheckedGroup,
    indexed: IndexedGroup,
    params: list[Tensor],
    states: Mapping[Tensor, Any],
    *,
    eager: bool = False,
) -> GroupFacts:
    """What decides the paths of a group's parameters.

    Args:
        optimizer: one of this package's.
        checked: the group's options.
        indexed: the group's index, and the group.
        params: the parameters to step.
        states: torch's state of each.
        eager: whether steps by the rule must not be compiled.
    """
    i, group = indexed
    facts = GroupFacts(optimizer, checked, i, group, params, eager)
    if checked.has_variant_options or optimizer.zero or optimizer.max_norm is not None:
        return facts
    numbers = not any(isinstance(v, Tensor) for v in (group["lr"], *group.get("betas", ())))
    differentiable = bool(group.get("differentiable"))
    unset = group.get("fused") is None and group.get("foreach") is None
    default = unset and numbers and not group.get("capturable") and not differentiable
    if optimizer.has_fused_kernel and (default or (group.get("fused") and not differentiable)):
        name = optimizer.torch_name
        facts.fused = any(has_checked_kernel(name, group, p) for p in params)
    prefers_rule = default and (
        optimizer.path == "compiled" or (not facts.fused and optimizer._equals_torch(group))
    )
    strided = all(p.grad is None or p.grad.layout is torch.strided for p in params)
    facts.by_torch = not (prefers_rule and strided and facts.compiled)
    amp = getattr(optimizer, "found_inf", None) is not None  # only torch's own step reads it
    lists = optimizer.keeps_fused_lists and numbers and not amp and not eager
    facts.fused_lists = lists and facts.by_torch and facts.fused
    if group.get("momentum"):
        buffers = (states.get(p, {}).get("momentum_buffer") for p in params)
        facts.has_momentum = any(buffer is not None for buffer in buffers)
    return facts


def step_params(optimizer: Any) -> None:
    """Step every parameter of an optimizer that has a gradient."""
    groups = list(enumerate(optimizer.param_groups))
    plain = all(PLAIN.issuperset(map(type, group["params"])) for _, group in groups)
    if plain or not any(is_dtensor(p) for _, group in groups for p in group["params"]):
        step_groups(optimizer, groups, optimizer.state)
    else:
        step_sharded(optimizer, partial(step_groups, optimizer))


def step_groups(
    optimizer: Any,
    groups: list[IndexedGroup],
    states: dict[Tensor, Any],
    *,
    eager: bool = False,
) -> None:
    """Step parameters that have a gradient.

    Args:
        optimizer: one of this package's; its own `param_groups` and `state` are not used.
        groups: the groups, each with its index in the optimizer.
        states: torch's state of each parameter; filled at its first step.
        eager: whether steps by the rule must not be compiled.
    """
    by_torch, by_rule = [], []
    for i, group in groups:
        params = [p for p in group["params"] if p.grad is not None]
        if not optimizer.steps_empty:
            params = [p for p in params if p.numel()]
        if not params:
            continue
        checked = optimizer._checks.groups[i]
        facts = group_facts(optimizer, checked, (i, group), params, states, eager=eager)
        lists, grads = optimizer._fused_lists.get(i), [p.grad for p in params]
        if facts.fused_lists and lists and lists.fits(params, grads, states, group["amsgrad"]):
            lists.step(group, grads)
            continue
        paths = [choose_path(p, facts, states.get(p, {})) for p in params]
        if facts.fused_lists and set(paths) == {StepPath.FUSED} and _step_new_lists(facts, states):
            continue
        for path in dict.fromkeys(paths):
            members = [p for p, chosen in zip(params, paths, strict=True) if chosen is path]
            if path in (StepPath.FUSED, StepPath.TORCH_LOOP):
                by_torch.append(({**group, "params": members}, path is StepPath.FUSED))
            else:
                by_rule.append((facts, path, members))
    if by_torch:
        torch_step(optimizer, by_torch, states)
    for facts, path, members in by_rule:
        step_by_rule(facts, members, states, compiled=path is StepPath.COMPILED)


def _step_new_lists(facts: GroupFacts, states: dict[Tensor, Any]) -> bool:
    """Step a group by torch's kernel with new lists, if they can be made; returns whether."""
    lists = FusedAdam.of(facts.params, states, facts.group["amsgrad"])
    facts.optimizer._fused_lists[facts.index] = lists
    if lists is not None:
        lists.step(facts.group, [p.grad for p in facts.params])  # type: ignore[misc]
    return lists is not None


def path_names(optimizer: Any) -> list[str]:
    """The paths of an optimizer's parameters, as if all had gradients: "fused", "compiled", ..."""
    names = {}
    for indexed in enumerate(optimizer.param_groups):
        params = indexed[1]["params"]
        checked = CheckedGroup(optimizer, indexed[1])
        facts = group_facts(optimizer, checked, indexed, params, optimizer.state)
        states = optimizer.state
        paths = [choose_path(p, facts, states.get(p, {})) for p in params]
        names |= dict.fromkeys(path.value for path in paths)
    return list(names)

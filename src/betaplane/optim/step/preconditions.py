"""Check everything that a step reads before it writes anything, so that an error never leaves half
a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from betaplane.cached import cached_property
from betaplane.errors import BadInput, BadType
from betaplane.optim.codegen.trace import can_trace
from betaplane.optim.state.reencode import change_storage
from betaplane.optim.step.dependence import rule_structure
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.storage_formats import EIGHT_BIT, SCALE
from betaplane.optim.validation import check_eps

Group = Mapping[str, Any]
_dtype = attrgetter("dtype")


class CheckedGroup:
    """The options of a group that were checked, and what follows from them alone.

    Args:
        optimizer: one of this package's.
        group: a param group.

    Raises:
        BadInput: an option is out of range.
    """

    def __init__(self, optimizer: Any, group: Group) -> None:
        self.options = dict(group)
        self.dtypes = list(map(_dtype, group["params"]))
        values = [value for name, value in group.items() if name not in ("params", "param_names")]
        self.may_change_in_place = not all(map(_is_immutable, values))
        self.spec: StepSpec = optimizer.spec_of(group)
        self.has_variant_options = optimizer._has_variant_options(group)

    def is_current(self, group: Group) -> bool:
        """Whether the group's options and dtypes are those that were checked."""
        if self.may_change_in_place or len(group) != len(self.options):
            return False
        return (
            all(map(is_, group.values(), self.options.values()))
            and group.keys() == self.options.keys()
            and list(map(_dtype, group["params"])) == self.dtypes
        )

    @cached_property
    def can_compile(self) -> bool:
        """Whether the rule's step can be compiled, for some of the group's parameters."""
        shapes = [p.shape for p in self.options["params"]]
        return can_trace(self.spec, shapes)


def _is_immutable(value: Any) -> bool:
    """Whether an option cannot change in place, as a tensor or a list can."""
    if isinstance(value, tuple):
        return all(map(_is_immutable, value))
    return value is None or isinstance(value, bool | int | float | complex | str)


class Checks:
    """What was checked before earlier steps, and is checked again only when it changes."""

    def __init__(self) -> None:
        self.groups: dict[int, CheckedGroup] = {}  # by index of the group
        # of each parameter, the size and dtype for which its state was checked
        self.params: dict[Tensor, tuple[torch.Size, torch.dtype]] = {}


def check_ready(optimizer: Any) -> None:
    """Raise BadInput for options, gradients or states with which a step would fail halfway.

    Args:
        optimizer: one of this package's.
    """
    checks: Checks = optimizer._checks
    for i, group in enumerate(optimizer.param_groups):
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            continue
        known = checks.groups.get(i)
        if known is None or not known.is_current(group):
            _check_options(optimizer, checks, i, group)
        sizes, grads = list(map(Tensor.size, params)), [p.grad for p in params]
        if list(map(Tensor.size, grads)) != sizes:
            _raise_shape(params)
        if any(g.layout is not torch.strided for g in grads) and not optimizer._takes_sparse(group):
            _raise_sparse(params)
        wanted = list(zip(sizes, map(_dtype, params), strict=True))
        if list(map(checks.params.get, params)) != wanted:
            for p in params:
                _check_state(optimizer, checks.groups[i], p)
            checks.params.update(zip(params, wanted, strict=True))


def _check_options(optimizer: Any, checks: Checks, i: int, group: Group) -> None:
    """Check the options of group i, and forget its states if the rule now needs others."""
    if not isinstance(group["lr"], Real | Tensor):
        raise BadType(
            "lr is not a number",
            value=group["lr"],
            allowed="a number",
            where=type(optimizer).__name__,
        )
    optimizer._check_options(group)
    checked, known = CheckedGroup(optimizer, group), checks.groups.get(i)
    if known is not None and known.spec.storage != checked.spec.storage:
        change_storage(optimizer, group, known.spec)
    if known is None or rule_structure(known.spec.rule) != rule_structure(checked.spec.rule):
        for p in group["params"]:
            checks.params.pop(p, None)
    checks.groups[i] = checked


def _check_state(optimizer: Any, checked: CheckedGroup, p: Tensor) -> None:
    """Raise BadInput if p's state has other shapes than the rule creates for p, or cannot be
    created.
    """
    param_state = optimizer.state.get(p)
    # Adagrad's state is created before the first step
    if not param_state or (p.dtype == torch.float16 and float(param_state.get("step", 1)) == 0):
        check_eps(checked.options, p)
    _check_storage(param_state or {}, checked.spec.storage, p)
    x = torch.view_as_real(p) if p.is_complex() else p
    fresh = checked.spec.rule.init(torch.empty(x.shape, dtype=x.dtype, device="meta"))
    rule_state = optimizer._rule_state(dict(param_state)) if param_state else {}
    for name, value in fresh._asdict().items():
        key = optimizer.state_keys.get(name, name)
        old = rule_state.get(key)
        if not isinstance(old, Tensor) or not old.dim() or old.layout is not torch.strided:
            continue
        old = torch.view_as_real(old) if old.is_complex() else old
        if value.dim() and old.shape != value.shape:
            raise BadInput(
                f"The state {key} has another shape than its parameter",
                value=tuple(old.shape),
                allowed=str(tuple(value.shape)),
                where=f"{type(optimizer).__name__}, a parameter of shape {tuple(p.shape)}",
            )


def _check_storage(param_state: Mapping[str, Any], storage: str, p: Tensor) -> None:
    """Raise BadInput if p's state has 8-bit codes that `storage` would read as values."""
    if storage not in EIGHT_BIT and any(key.endswith(SCALE) for key in param_state):
        raise BadInput(
            "The state is stored in 8 bits",
            value=storage,
            allowed=" or ".join(map(repr, EIGHT_BIT)),
            where=f"storage, a parameter of shape {tuple(p.shape)}",
            instead='storage="8bit", and the other storage after one step',
        )


def _raise_shape(params: list[Tensor]) -> None:
    p = next(p for p in params if p.grad is not None and p.grad.shape != p.shape)
    raise BadInput(
        "The gradient has another shape than its parameter",
        value=tuple(p.grad.shape),  # type: ignore[union-attr]
        allowed=str(tuple(p.shape)),
        where="a gradient",
    )


def _raise_sparse(params: list[Tensor]) -> None:
    p = next(p for p in params if p.grad is not None and p.grad.layout is not torch.strided)
    raise BadInput(
        "The gradient is sparse",
        value=p.grad.layout,  # type: ignore[union-attr]
        allowed="torch.strided",
        where=f"the gradient of a parameter of shape {tuple(p.shape)}",
        instead="sparse=False",
    )

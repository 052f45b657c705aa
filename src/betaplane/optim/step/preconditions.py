"""Check all that a step reads before it writes anything, so that no error leaves half a step done."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from operator import is_
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput, BadType
from betaplane.optim.step.dependence import kind_of
from betaplane.optim.step.reference import STATE
from betaplane.optim.validation import check_eps

Group = Mapping[str, Any]


class Checked:
    """What was checked before earlier steps, and is checked again only once it changes."""

    def __init__(self) -> None:
        # of each group, the values that its rule was made of
        self.options: dict[int, list[Any]] = {}
        # of each group, what of its rule decides the shapes of states
        self.kinds: dict[int, tuple] = {}
        self.sizes: dict[Tensor, torch.Size] = {}  # of each parameter whose state was looked at


def check_ready(optimizer: Any) -> None:
    """Raise BadInput for options, gradients or states with which a step would end halfway.

    Args:
        optimizer: one of this package's.
    """
    checked = optimizer.__dict__.setdefault("_checked", Checked())
    for i, group in enumerate(optimizer.param_groups):
        found = [p for p in group["params"] if p.grad is not None]
        sizes, gradients = list(map(Tensor.size, found)), [p.grad for p in found]
        if found and _changed(checked, i, group):
            _check_options(optimizer, checked, i, group)
        if list(map(Tensor.size, gradients)) != sizes:
            _raise_shape(found)
        if any(g.layout is not torch.strided for g in gradients) and not optimizer._takes_sparse(
            group
        ):
            _raise_sparse(found)
        if list(map(checked.sizes.get, found)) != sizes:
            for p in found:
                _check_state(optimizer, group, p)
            checked.sizes.update(zip(found, sizes, strict=True))


def _changed(checked: Checked, i: int, group: Group) -> bool:
    """Whether an option of group i may be another than at the last check."""
    options, known = list(group.values()), checked.options.get(i, [])
    same = len(known) == len(options) and all(map(is_, known, options))
    return not same or any(isinstance(value, Tensor) for value in options)


def _check_options(optimizer: Any, checked: Checked, i: int, group: Group) -> None:
    """Raise BadInput if an option is out of range."""
    checked.options.pop(i, None)
    if not isinstance(group["lr"], Real | Tensor):
        raise BadType(
            "lr is not a number",
            value=group["lr"],
            allowed="a number",
            where=type(optimizer).__name__,
        )
    optimizer._check_options(group)
    kind = kind_of(optimizer.rule_of(group))
    if checked.kinds.get(i) != kind:  # states of other shapes
        for p in group["params"]:
            checked.sizes.pop(p, None)
    checked.options[i], checked.kinds[i] = list(group.values()), kind


def _check_state(optimizer: Any, group: Group, p: Tensor) -> None:
    """Raise BadInput if p's state has other shapes than the rule makes for p, or cannot be made."""
    held = optimizer.state.get(p)
    # Adagrad's state is made early
    if not held or (p.dtype == torch.float16 and float(held.get("step", 1)) == 0):
        check_eps(group, p)
    x = torch.view_as_real(p) if p.is_complex() else p
    fresh = optimizer.rule_of(group).init(torch.empty(x.shape, dtype=x.dtype, device="meta"))
    words = getattr(optimizer, "words", STATE)
    held = getattr(optimizer, "_rules_state", dict)(held) if held else {}
    for name, value in fresh._asdict().items():
        old = held.get(words.get(name, name))
        if isinstance(old, Tensor) and old.dim() and old.layout is torch.strided:
            old = torch.view_as_real(old) if old.is_complex() else old
            if value.dim() and old.shape != value.shape:
                what = f"The state {words.get(name, name)} has another shape than its parameter"
                where = f"{type(optimizer).__name__}, a parameter of shape {tuple(p.shape)}"
                raise BadInput(
                    what, value=tuple(old.shape), allowed=str(tuple(value.shape)), where=where
                )


def _raise_shape(params: list[Tensor]) -> None:
    p = next(p for p in params if p.grad is not None and p.grad.shape != p.shape)
    got, where = tuple(p.grad.shape), "a gradient"  # type: ignore[union-attr]
    raise BadInput(
        "The gradient has another shape than its parameter",
        value=got,
        allowed=str(tuple(p.shape)),
        where=where,
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

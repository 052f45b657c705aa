"""One parameter's update by its rule: between torch's optimizer state and the rule's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules import Rule

STATE = {"t": "step", "m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}  # torch's names


def update(
    rule: Rule,
    p: Tensor,
    g: Tensor,
    held: dict[str, Any],
    lr: float | Tensor,
    *,
    maximize: bool = False,
    words: Mapping[str, str] = STATE,
) -> None:
    """Take one step of the rule on p, in place, with the state in `held`, which is filled at the first step.

    The arithmetic is in the state's type where that is wider than p's. Complex numbers are pairs of real ones.

    Args:
        rule: the update rule.
        p: the parameter.
        g: its gradient; not changed.
        held: torch's state of the parameter, by torch's names: tensors.
        lr: learning rate.
        maximize: step up instead of down.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    if g.layout is not torch.strided:
        where = f"the gradient of a parameter of shape {tuple(p.shape)}"
        raise BadInput(
            "The gradient is sparse", value=g.layout, allowed="torch.strided", where=where, instead="sparse=False"
        )
    if p.numel() == 0:
        return
    x, g = _real(p), _real(-g if maximize else g)
    s = _loaded(rule, x, held, words)
    wide = _widest(x, s)
    moved, new = rule.step(x.to(wide), g.to(wide), s, lr)
    p.copy_(torch.view_as_complex(moved.contiguous()) if p.is_complex() else moved)
    for name, old, value in zip(new._fields, s, new, strict=True):
        _store(held, words.get(name, name), value.to(old.dtype), p)
    if "t" not in new._fields:
        count(held)


def count(held: dict[str, Any]) -> None:
    """One step more, where the rule itself does not count: torch's states do."""
    held["step"] = torch.as_tensor(held.get("step", 0.0)) + 1


def estimate(rule: Rule, p: Tensor, h: Tensor, held: dict[str, Any], words: Mapping[str, str] = STATE) -> None:
    """Take an estimate of the curvature into the state in `held`, by the rule's own `curvature`.

    Args:
        rule: has `curvature(s, h)`.
        p: the parameter.
        h: like p, the estimate.
        held: torch's state of the parameter; filled if it is empty.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    s = _loaded(rule, p, held, words)
    new = rule.curvature(s, h)  # pyright: ignore[reportAttributeAccessIssue]
    for name, old, value in zip(new._fields, s, new, strict=True):
        _store(held, words.get(name, name), value.to(old.dtype), p)


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _loaded(rule: Rule, x: Tensor, held: Mapping[str, Any], words: Mapping[str, str]) -> Any:
    """The rule's state: what is held, and for what is not, the state before the first step."""
    fresh = rule.init(x)
    known = {name: held.get(words.get(name, name)) for name in fresh._fields}
    return fresh._replace(
        **{name: _as(value, getattr(fresh, name)) for name, value in known.items() if value is not None}
    )


def _as(value: Tensor | float, fresh: Tensor) -> Tensor:
    value = _real(value) if isinstance(value, Tensor) else torch.tensor(value)
    return value.to(fresh.device) if value.dim() else value.to(fresh)


def _widest(x: Tensor, s: Any) -> torch.dtype:
    like_x = [value.dtype for value in s if value.dim() and value.is_floating_point()]
    return reduce(torch.promote_types, like_x, x.dtype)


def _store(held: dict[str, Any], word: str, value: Tensor, p: Tensor) -> None:
    """Write a state in place, so that its layout and whoever else holds it stay; at the first step, a copy."""
    old = held.get(word)
    if isinstance(old, Tensor) and _real(old).shape == value.shape:
        _real(old).copy_(value)
    else:
        pairs = p.is_complex() and value.dim() > 0 and value.shape[:-1] == p.shape
        held[word] = torch.view_as_complex(value.contiguous().clone()) if pairs else value.clone()

"""What torch's load_state_dict loses: the types of states, and the names of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput


def keep_types(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Give states back the types they had in the state dict; torch casts them to their parameters'.

    Args:
        optimizer: has just loaded it.
        state_dict: what it loaded.
    """
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, p in zip(saved, params, strict=True):
        held = optimizer.state.get(p, {})
        for word, value in state_dict["state"].get(i, {}).items():
            cast = held.get(word)
            if word != "step" and isinstance(cast, Tensor) and isinstance(value, Tensor) and cast.dtype != value.dtype:
                held[word] = value.detach().clone().to(p.device)


def check_state(optimizer: Any, state_dict: Mapping[str, Any], words: Mapping[str, str]) -> None:
    """Raise BadInput where a state dict is not one of this optimizer's rule, or not for these parameters.

    Args:
        optimizer: with `rule_of(group)`.
        state_dict: what is to be loaded.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    where = type(optimizer).__name__
    groups, saved = optimizer.param_groups, state_dict["param_groups"]
    sizes = [[len(group["params"]) for group in side] for side in (saved, groups)]
    if sizes[0] != sizes[1]:
        raise BadInput(
            "The state dict is for other groups", value=sizes[0], allowed=f"{sizes[1]} parameters", where=where
        )
    for group, old in zip(groups, saved, strict=True):
        names = old.get("param_names") or [f"parameter {i}" for i in old["params"]]
        for p, i, name in zip(group["params"], old["params"], names, strict=True):
            held = getattr(optimizer, "_rules_state", dict)(state_dict["state"].get(i, {}))
            rule = optimizer.rule_of({**old, "params": group["params"]})
            _check_one(p, held, rule, words, f"{name} of {where}")


def _check_one(p: Tensor, held: Mapping[str, Any], rule: Any, words: Mapping[str, str], where: str) -> None:
    x = torch.view_as_real(p) if p.is_complex() else p
    fresh = rule.init(torch.empty_like(x, device="meta"))
    shapes = {words.get(name, name): value.shape for name, value in zip(fresh._fields, fresh, strict=True)}
    for word, value in held.items():
        if word not in shapes and word != "step":
            allowed = ", ".join(shapes)
            raise BadInput("The state dict is another rule's", value=word, allowed=allowed, where=where)
        real = torch.view_as_real(value) if isinstance(value, Tensor) and value.is_complex() else value
        if isinstance(real, Tensor) and real.dim() and word in shapes and real.shape != shapes[word]:
            got, allowed = tuple(value.shape), tuple(shapes[word])
            raise BadInput(f"The state {word} has another shape", value=got, allowed=str(allowed), where=where)

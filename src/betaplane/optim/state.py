"""Load a state: checked before anything is written, in the types it was saved in, by name where there are names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.optim.form import AVERAGE, LOST
from betaplane.optim.formats import SCALE
from betaplane.optim.names import by_name
from betaplane.optim.refit import closed, opened


def load(
    optimizer: Optimizer,
    state_dict: dict[str, Any],
    load_by_place: Callable[[dict[str, Any]], None],
    words: Mapping[str, str],
    *,
    strict: bool,
) -> None:
    """Load a state, all or nothing: by name where both sides have names, in the types it was saved in.

    Options that it lacks stay as they are: torch's state dicts know nothing of ours.

    Args:
        optimizer: with `rule_of(group)`.
        state_dict: what `state_dict()` gave.
        load_by_place: torch's load_state_dict.
        words: torch's names for the fields of the rule's state, where they differ.
        strict: whether both must have the same names.
    """
    found: dict[str, Any] = {}
    saved: list[str] = []

    def fit(optimizer: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
        found.update(by_name(optimizer, given, strict=strict))
        check_sizes(optimizer, found)
        saved.extend(old.get("storage", "parameter") for old in found["param_groups"])
        check_state(optimizer, found, words)
        found["state"] = opened(optimizer, found, words)
        pairs = zip(optimizer.param_groups, found["param_groups"], strict=True)
        found["param_groups"] = [{**group, **_theirs(old)} for group, old in pairs]
        return found

    with optimizer.register_load_state_dict_pre_hook(fit):  # the last: users' own hooks may rename and reshape
        load_by_place(state_dict)
    keep_types(optimizer, found)
    closed(optimizer, words, saved)


def _theirs(old: dict[str, Any]) -> dict[str, Any]:
    """What a saved group says, but not how its state was kept: that is for the process that goes on to say."""
    return {name: value for name, value in old.items() if name != "storage"}


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


def check_sizes(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Raise BadInput where a state dict has other groups than the optimizer, or of other lengths."""
    groups, saved = optimizer.param_groups, state_dict["param_groups"]
    sizes = [[len(group["params"]) for group in side] for side in (saved, groups)]
    if sizes[0] != sizes[1]:
        where, allowed = type(optimizer).__name__, f"{sizes[1]} parameters"
        raise BadInput("The state dict is for other groups", value=sizes[0], allowed=allowed, where=where)


def check_state(optimizer: Any, state_dict: Mapping[str, Any], words: Mapping[str, str]) -> None:
    """Raise BadInput where a state dict is not one of this optimizer's rule, or not for these parameters' shapes.

    Args:
        optimizer: with `rule_of(group)`.
        state_dict: what is to be loaded, in the optimizer's groups.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    where = type(optimizer).__name__
    for group, old in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        names = old.get("param_names") or [f"parameter {i}" for i in old["params"]]
        for p, i, name in zip(group["params"], old["params"], names, strict=True):
            held = getattr(optimizer, "_rules_state", dict)(state_dict["state"].get(i, {}))
            rule = optimizer.rule_of({**group, **old, "params": group["params"]})
            _check_one(p, held, rule, words, f"{name} of {where}")


def _check_one(p: Tensor, held: Mapping[str, Any], rule: Any, words: Mapping[str, str], where: str) -> None:
    x = torch.view_as_real(p) if p.is_complex() else p
    fresh = rule.init(torch.empty(x.shape, dtype=x.dtype, device="meta"))
    shapes = {words.get(name, name): value.shape for name, value in zip(fresh._fields, fresh, strict=True)}
    for word, value in held.items():
        if word not in shapes and word not in ("step", LOST, AVERAGE) and word.removesuffix(SCALE) not in shapes:
            allowed = ", ".join(shapes)
            raise BadInput("The state dict is another rule's", value=word, allowed=allowed, where=where)
        real = torch.view_as_real(value) if isinstance(value, Tensor) and value.is_complex() else value
        if isinstance(real, Tensor) and real.dim() and word in shapes and real.shape != shapes[word]:
            got, allowed = tuple(value.shape), tuple(shapes[word])
            raise BadInput(f"The state {word} has another shape", value=got, allowed=str(allowed), where=where)

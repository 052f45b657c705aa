"""Reorder a state dict by parameter name (torch matches parameters by position)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput


def by_name(
    optimizer: Optimizer, state_dict: Mapping[str, Any], *, strict: bool = True
) -> Mapping[str, Any]:
    """Reorder a state dict as the optimizer's parameters, by name; unchanged if either side has no
    names.

    A group gets the options of the saved group that its parameters were in. If they were in several, it gets those
    that have the same value in all of them.

    Args:
        optimizer: created from named parameters.
        state_dict: the result of `state_dict()`.
        strict: whether both must have the same names. If not, a parameter that the state dict lacks keeps its state
            (none in a new optimizer), and what only the state dict has is skipped.

    Returns:
        A state dict that torch can load by position.

    Raises:
        BadInput: for names that only one side has, if strict.
    """
    names, saved = _by_name(optimizer.param_groups), _by_name(state_dict["param_groups"])
    if names is None or saved is None:
        return state_dict
    if strict:
        _check_same(names, saved, type(optimizer).__name__)
    ids = {name: i for i, name in enumerate(names)}
    state = {
        ids[name]: _state_of(optimizer, state_dict, p, saved.get(name))
        for name, (p, _) in names.items()
    }
    groups = [
        _common_options(saved[name][1] for name in group["param_names"] if name in saved)
        | {
            "params": [ids[name] for name in group["param_names"]],
            "param_names": list(group["param_names"]),
        }
        for group in optimizer.param_groups
    ]
    return {
        **state_dict,
        "state": {i: value for i, value in state.items() if value},
        "param_groups": groups,
    }


def _by_name(
    groups: Iterable[Mapping[str, Any]],
) -> dict[str, tuple[Any, Mapping[str, Any]]] | None:
    """Each name's parameter and group; None if a parameter has no name, or two have the same."""
    named = {}
    for group in groups:
        names = group.get("param_names") or ()
        if (
            len(names) != len(group["params"])
            or len(set(names)) != len(names)
            or not named.keys().isdisjoint(names)
        ):
            return None
        named |= {name: (p, group) for name, p in zip(names, group["params"], strict=True)}
    return named


def _check_same(names: Mapping[str, Any], saved: Mapping[str, Any], where: str) -> None:
    missing = [name for name in names if name not in saved]
    unknown = [name for name in saved if name not in names]
    if missing or unknown:
        raise BadInput(
            "The state dict is for other parameters",
            value={"missing": missing, "unknown": unknown},
            allowed="the same names",
            where=where,
            instead="load_state_dict(state_dict, strict=False)",
        )


def _state_of(
    optimizer: Optimizer, state_dict: Mapping[str, Any], p: Any, place: tuple[Any, Any] | None
) -> Any:
    """A parameter's saved state; the optimizer's if the state dict does not have the parameter."""
    return optimizer.state.get(p) if place is None else state_dict["state"].get(place[0])


def _common_options(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The options that all groups have with one value."""
    first, *others = {id(group): group for group in groups}.values() or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in o and o[key] == value for o in others)
    }

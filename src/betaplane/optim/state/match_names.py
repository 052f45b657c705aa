"""A state dict in an optimizer's own order: torch matches parameters by their places, here names
do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput


def by_name(
    optimizer: Optimizer, state_dict: Mapping[str, Any], *, strict: bool = True
) -> Mapping[str, Any]:
    """The state dict with every parameter where the optimizer has that name; as it is where either
    side has no names.

    A group gets the options of the saved group that its parameters were in; where they were in several, those that
    these agree on.

    Args:
        optimizer: made from named parameters.
        state_dict: what `state_dict()` gave.
        strict: whether both must have the same names. Else a parameter that the state dict lacks keeps the state it
            has, none in a new optimizer, and what only the state dict has is left out.

    Returns:
        A state dict that torch can load by places.

    Raises:
        BadInput: for names that only one side has, if strict.
    """
    names, saved = _places(optimizer.param_groups), _places(state_dict["param_groups"])
    if names is None or saved is None:
        return state_dict
    if strict:
        _check_same(names, saved, type(optimizer).__name__)
    ids = {name: i for i, name in enumerate(names)}
    state = {
        ids[name]: _held(optimizer, state_dict, p, saved.get(name))
        for name, (p, _) in names.items()
    }
    groups = [
        _agreed(saved[name][1] for name in group["param_names"] if name in saved)
        | {
            "params": [ids[name] for name in group["param_names"]],
            "param_names": list(group["param_names"]),
        }
        for group in optimizer.param_groups
    ]
    return {
        **state_dict,
        "state": {i: held for i, held in state.items() if held},
        "param_groups": groups,
    }


def _places(groups: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, Mapping[str, Any]]] | None:
    """Each name's parameter and group; None where a parameter has no name, or two have the same."""
    found = {}
    for group in groups:
        names = group.get("param_names") or ()
        if (
            len(names) != len(group["params"])
            or len(set(names)) != len(names)
            or not found.keys().isdisjoint(names)
        ):
            return None
        found |= {name: (p, group) for name, p in zip(names, group["params"], strict=True)}
    return found


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


def _held(
    optimizer: Optimizer, state_dict: Mapping[str, Any], p: Any, place: tuple[Any, Any] | None
) -> Any:
    """A parameter's state: what was saved, or without a place in the state dict what the optimizer
    has.
    """
    return optimizer.state.get(p) if place is None else state_dict["state"].get(place[0])


def _agreed(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The options that all groups have with one value."""
    first, *others = {id(group): group for group in groups}.values() or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in o and o[key] == value for o in others)
    }

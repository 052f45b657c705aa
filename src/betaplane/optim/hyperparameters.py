"""Read, check and write the hyperparameters of a param group by name, including those in tuples."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules._rule import INF, UNIT, Range, at_least_zero

# options that may be tuples -> the name of their elements, numbered from 1
TUPLES = {"betas": "beta", "eps": "eps"}
NONNEGATIVE = ("lr", "weight_decay", "eps", "eps1", "eps2")


def names_in(key: str, value: Any) -> list[str]:
    """The names of the numbers in an option; none for a switch, a string or the parameters.

    Example:
        >>> names_in("betas", (0.9, 0.999)), names_in("eps", 1e-8), names_in("maximize", True)
        (['beta1', 'beta2'], ['eps'], [])
    """
    if key in TUPLES and isinstance(value, tuple | list):
        return [f"{TUPLES[key]}{i + 1}" for i in range(len(value))]
    return [key] if isinstance(value, Real | Tensor) and not isinstance(value, bool) else []


def hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's hyperparameters by name: floats, or tensors.

    Example:
        >>> hyperparameters({"lr": 0.1, "betas": (0.9, 0.999), "foreach": None})
        {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.999}
    """
    pairs = [(names_in(key, value), value) for key, value in group.items()]
    return {
        name: n for names, value in pairs for name, n in zip(names, as_tuple(value), strict=False)
    }


def changed_options(group: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, Any]:
    """The options of a group that change with these hyperparameters; tuples as a whole.

    Example:
        >>> changed_options({"lr": 0.1, "betas": (0.9, 0.999)}, {"beta2": 0.95})
        {'betas': (0.9, 0.95)}
    """
    changed = {}
    for key, value in group.items():
        names = names_in(key, value)
        if not values.keys().isdisjoint(names):
            new = tuple(
                values.get(name, old) for name, old in zip(names, as_tuple(value), strict=True)
            )
            changed[key] = new if isinstance(value, tuple | list) else new[0]
    return changed


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple or list as a tuple; any other value as a tuple of one."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def write_value(old: Any, new: Any, *, own: bool) -> Any:
    """The new value to put in place of the old one.

    A tensor is filled in place, or its copy if `own`; any other value is replaced.
    """
    if isinstance(old, tuple | list):
        return tuple(write_value(o, n, own=own) for o, n in zip(old, new, strict=True))
    return (old.clone() if own else old).fill_(new) if isinstance(old, Tensor) else new


def check_value(name: str, value: Any, old: Any, where: str) -> float:
    """The number that `value` is in the dtype of the old one: 1 - 1e-8 is 1 in 32 bits.

    Args:
        name: of the hyperparameter.
        value: a number or a tensor of one element.
        old: the present value.
        where: for the error.

    Raises:
        BadInput: if it is not a number, or out of range.
    """
    allowed = _range(name)
    instead = f"{name}=lambda t: {allowed.example}"
    if not isinstance(value, Real | Tensor) or (isinstance(value, Tensor) and value.numel() != 1):
        text = f"a number in {allowed.text}"
        raise BadInput(
            f"{name} is not a number", value=value, allowed=text, where=where, instead=instead
        )
    number = (
        torch.tensor(float(value), dtype=old.dtype).item()
        if isinstance(old, Tensor)
        else float(value)
    )
    if not allowed.contains(number):
        raise BadInput(
            f"{name} is out of range",
            value=number,
            allowed=allowed.text,
            where=where,
            instead=instead,
        )
    return number


def _range(name: str) -> Range:
    """The range of a hyperparameter in any optimizer; a rule may narrow it."""
    if name.startswith("beta") and name[4:].isdigit():
        return UNIT[0.9 if name == "beta1" else 0.999]
    return at_least_zero(1e-8) if name in NONNEGATIVE else Range(-INF, INF, "(-inf, inf)", 0.0)

"""The numbers in a param group by name, those in its tuples too: read, checked, and written where
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules._rule import INF, UNIT, Range, at_least_zero

# options that may be tuples -> what the numbers in them are called, from 1 on
TUPLES = {"betas": "beta", "eps": "eps"}
LEAST_ZERO = ("lr", "weight_decay", "eps", "eps1", "eps2")


def names(key: str, value: Any) -> list[str]:
    """What the numbers of an option are called; none for a switch, a word or the parameters.

    Example:
        >>> names("betas", (0.9, 0.999)), names("eps", 1e-8), names("maximize", True)
        (['beta1', 'beta2'], ['eps'], [])
    """
    if key in TUPLES and isinstance(value, tuple | list):
        return [f"{TUPLES[key]}{i + 1}" for i in range(len(value))]
    return [key] if isinstance(value, Real | Tensor) and not isinstance(value, bool) else []


def numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's numbers by name: of kind float, or tensors.

    Example:
        >>> numbers({"lr": 0.1, "betas": (0.9, 0.999), "foreach": None})
        {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.999}
    """
    pairs = [(names(key, value), value) for key, value in group.items()]
    return {
        name: n for found, value in pairs for name, n in zip(found, several(value), strict=False)
    }


def options(group: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, Any]:
    """The options of a group that change with these values, tuples as a whole.

    Example:
        >>> options({"lr": 0.1, "betas": (0.9, 0.999)}, {"beta2": 0.95})
        {'betas': (0.9, 0.95)}
    """
    found = {}
    for key, value in group.items():
        called = names(key, value)
        if not values.keys().isdisjoint(called):
            new = tuple(
                values.get(name, old) for name, old in zip(called, several(value), strict=True)
            )
            found[key] = new if isinstance(value, tuple | list) else new[0]
    return found


def several(value: Any) -> tuple[Any, ...]:
    """A tuple as it is, one thing as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def written(old: Any, new: Any, *, own: bool) -> Any:
    """The new value in the place of the old one: a number as it is, a tensor filled, or a tensor of
    its own.
    """
    if isinstance(old, tuple | list):
        return tuple(written(o, n, own=own) for o, n in zip(old, new, strict=True))
    return (old.clone() if own else old).fill_(new) if isinstance(old, Tensor) else new


def checked(name: str, value: Any, old: Any, where: str) -> float:
    """The number that `value` will be in the place of old, in its type: 1 - 1e-8 is 1 in 32 bits.

    Args:
        name: what it is called.
        value: a number of any kind.
        old: what is there now.
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
    """Where a number lies in any optimizer; those of ours know more."""
    if name.startswith("beta") and name[4:].isdigit():
        return UNIT[0.9 if name == "beta1" else 0.999]
    return at_least_zero(1e-8) if name in LEAST_ZERO else Range(-INF, INF, "(-inf, inf)", 0.0)

"""Checks of the types of an optimizer's arguments and param groups."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor, nn

from betaplane.errors import BadKey, BadType


def check_types(kind: type, params: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise BadType for invalid parameters, and for an option of another type than its default's.

    Args:
        kind: the optimizer's class.
        params: what was passed as parameters.
        args: the other positional arguments.
        options: the keyword arguments.

    Raises:
        BadType: which is a BadInput, and a TypeError as torch's own classes raise.

    Example:
        >>> import betaplane
        >>> betaplane.Lion(nn.Linear(2, 2))
        Traceback (most recent call last):
            ...
        betaplane.errors.BadType: A module is not a list of parameters: got 'Linear'; ... Try: model.parameters()
    """
    check_given(kind, params)
    check_options(kind, args, options)


def check_given(kind: type, params: Any) -> None:
    """Raise BadType if params are not parameters.

    Args:
        kind: the optimizer's class.
        params: what was passed as parameters.
    """
    where = kind.__name__
    if isinstance(params, nn.Module):
        raise BadType(
            "A module is not a list of parameters",
            value=type(params).__name__,
            allowed="parameters, (name, parameter) pairs or groups",
            where=where,
            instead="model.parameters()",
        )
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        raise BadType(
            "params argument given to the optimizer should be an iterable of Tensors or dicts",
            value=type(params).__name__,
            allowed="parameters, (name, parameter) pairs or groups",
            where=where,
            instead="model.parameters()",
        )


def check_group(kind: type, group: Any) -> None:
    """Raise BadType or BadKey if a value is not a param group; torch's classes raise TypeError or
    KeyError.

    Its parameters become a list, as in torch.

    Args:
        kind: the optimizer's class.
        group: what was passed as a group.
    """
    where = kind.__name__
    if not isinstance(group, dict):
        allowed, instead = '{"params": parameters, ...options}', '{"params": [parameter]}'
        what, got = "param_group must be a dict", type(group).__name__
        raise BadType(what, value=got, allowed=allowed, where=where, instead=instead)
    if "params" not in group:
        keys, instead = list(group), '{"params": model.parameters(), ...}'
        raise BadKey(
            "The param group has no params",
            value=keys,
            allowed="params",
            where=where,
            instead=instead,
        )
    if isinstance(group["params"], set):
        what, got = "optimizer parameters need to be organized in ordered collections", "set"
        raise BadType(
            what, value=got, allowed="a list", where=where, instead='{"params": [parameter]}'
        )
    if not isinstance(group["params"], Tensor):
        check_given(kind, group["params"])
        group["params"] = list(group["params"])
        for entry in group["params"]:
            _check_entry(entry, where)
    check_options(kind, (), group)


def _check_entry(entry: Any, where: str) -> None:
    """Raise BadType unless an entry of a group's params is a tensor, or a name and a tensor."""
    pair: Any = entry if isinstance(entry, tuple) else ("", entry)
    if len(pair) < 2 or not isinstance(pair[1], Tensor):
        raise BadType(
            "optimizer can only optimize Tensors",
            value=entry if isinstance(entry, str) else _types_in(entry),
            allowed="parameters or (name, parameter) pairs",
            where=where,
            instead="model.parameters()",
        )


def _types_in(entry: Any) -> Any:
    """The names of types in a tuple, or the name of a type."""
    return tuple(map(_types_in, entry)) if isinstance(entry, tuple) else type(entry).__name__


def check_options(kind: type, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise BadType for an option of another type than its default's.

    Args:
        kind: the optimizer's class.
        args: the positional arguments after the parameters.
        options: the keyword arguments.
    """
    where = kind.__name__
    known = inspect.signature(kind).parameters
    for name, value in {**dict(zip([*known][1:], args, strict=False)), **options}.items():
        if name in known:
            exact = hasattr(kind, "torch_class")  # other classes leave the count to their rule
            _check_type(name, value, known[name].default, where, exact)


def _check_type(name: str, value: Any, default: Any, where: str, exact: bool) -> None:
    allowed = _allowed_types(name, value, default, exact)
    if allowed:
        instead = f"{name}={default!r}"
        raise BadType(
            f"{name} is of the wrong type",
            value=value,
            allowed=allowed,
            where=where,
            instead=instead,
        )


def _allowed_types(name: str, value: Any, default: Any, exact: bool) -> str:
    """The values that are allowed in place of an option's default; empty if the value is one of
    them.
    """
    if isinstance(default, tuple):
        kinds = (Real, Tensor, type(None)) if None in default else (Real, Tensor)
        items = value if isinstance(value, (tuple, list)) else ()
        whole = len(items) == len(default) or (name == "betas" and items and not exact)
        fits = whole and all(isinstance(item, kinds) for item in items)
        return "" if fits else f"{len(default)} numbers"
    if isinstance(default, bool):  # every string is true, even 'False'
        return "True or False" if isinstance(value, str) else ""
    return "a number" if isinstance(default, Real) and not isinstance(value, Real | Tensor) else ""

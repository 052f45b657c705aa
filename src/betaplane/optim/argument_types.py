"""Checks of the types of an optimizer's constructor arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor, nn

from betaplane.errors import BadType


def check_types(kind: type, params: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise BadType for parameters that are none, and for an option of another type than its default's.

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
        betaplane.errors.BadType: A module is no list of parameters: got 'Linear', ... Try: model.parameters()
    """
    check_given(kind, params)
    check_options(kind, args, options)


def check_given(kind: type, params: Any) -> None:
    """Raise BadType for parameters that are none.

    Args:
        kind: the optimizer's class.
        params: what was passed as parameters.
    """
    where = kind.__name__
    if isinstance(params, nn.Module):
        raise BadType(
            "A module is no list of parameters",
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
            _check_type(name, value, known[name].default, where)


def _check_type(name: str, value: Any, usual: Any, where: str) -> None:
    if isinstance(usual, tuple):
        fits, allowed = isinstance(value, (tuple, list)), f"{len(usual)} numbers"
    elif isinstance(usual, Real) and not isinstance(usual, bool):
        fits, allowed = isinstance(value, (Real, Tensor)), "a number"
    else:
        return
    if not fits:
        raise BadType(
            f"{name} is of the wrong type", value=value, allowed=allowed, where=where, instead=f"{name}={usual!r}"
        )

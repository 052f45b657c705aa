"""Explain the calls of public functions and classes whose arguments do not fit the signature."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from betaplane.errors import BadInput, BadType, unknown
from betaplane.text import plural

if TYPE_CHECKING:
    from inspect import Signature

P = ParamSpec("P")
T = TypeVar("T")


def explain_calls(package: str, *, methods: bool = True) -> None:
    """Make a package's public functions and classes raise BadInput for arguments that do not fit.

    To be called at the end of the package's `__init__`. Objects keep their names, signatures and
    docstrings, and are pickled by name as before.

    Args:
        package: the package's name; its `__all__` lists what is public.
        methods: whether public methods of the classes are included. Those of rules and optimizers
            are not: compilers trace them, and each step calls them.
    """
    module = sys.modules[package]
    for name in module.__all__:
        value = getattr(module, name)
        if not callable(value) or not value.__module__.startswith("betaplane."):
            continue
        if isinstance(value, type):
            _explain_class(value, methods)
        elif not hasattr(value, "explains"):
            wrapper = _explained(value)
            setattr(module, name, wrapper)
            setattr(sys.modules[value.__module__], name, wrapper)  # where pickle looks it up


def _explain_class(kind: type, methods: bool) -> None:
    """Explain calls of a class, and of its public methods."""
    constructor: Any = "__new__" if issubclass(kind, tuple) else "__init__"
    function = getattr(kind, constructor)
    if function is object.__init__ and kind.__new__ is not object.__new__:
        return  # then object's own __init__ accepts what __new__ takes
    function = getattr(function, "explains", function)  # an inherited one is explained per class
    setattr(kind, constructor, _explained(function, bound=True, kind=kind))
    owners = [base for base in kind.__mro__ if base.__module__.startswith("betaplane.")]
    for owner in owners if methods else ():
        for name, value in list(vars(owner).items()):
            if not name.startswith("_"):
                _explain_method(owner, name, value)


def _explain_method(owner: type, name: str, value: object) -> None:
    """Explain calls of a method; other attributes stay as they are."""
    if hasattr(value, "explains"):
        return
    if isinstance(value, FunctionType):
        setattr(owner, name, _explained(value, bound=True))
    elif isinstance(value, classmethod):
        setattr(owner, name, classmethod(_explained(value.__func__, bound=True)))
    elif isinstance(value, staticmethod):
        setattr(owner, name, staticmethod(_explained(value.__func__)))


def _explained(
    function: Callable[P, T], *, bound: bool = False, kind: type | None = None
) -> Callable[P, T]:
    """The function, with BadType in place of Python's TypeError for arguments that do not fit.

    Args:
        function: what is called.
        bound: whether the first argument is an object or a class, which callers do not write.
        kind: the class of which it is the constructor.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TypeError:
            label = (kind or function).__qualname__
            error = _misfit(_signature(function, bound, kind), label, args[bound:], kwargs)
            if error is None:
                raise  # it comes from inside the function
            raise error from None

    call.explains = function  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., Any], bound: bool, kind: type | None) -> Signature:
    """The arguments that callers write."""
    # imported lazily: it takes 10 ms, and calls that fit do not need it
    from inspect import Signature, signature

    if function is object.__init__:
        return Signature()
    if kind is not None and "__signature__" in vars(kind):
        return signature(kind)
    written = signature(function)
    return written.replace(parameters=list(written.parameters.values())[bound:])


def _misfit(
    expected: Signature, label: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> BadInput | None:
    """The error for arguments that do not fit a signature; None if they do.

    Example:
        >>> from inspect import signature
        >>> def scale(x, factor=2.0, *, shift=0.0):
        ...     return factor * x + shift
        >>> print(_misfit(signature(scale), "scale", [1.0], {"facter": 3.0}))
        Unknown argument 'facter'. Did you mean 'factor'? Choose one of: x, factor, shift (scale). Try: factor=...
        >>> print(_misfit(signature(scale), "scale", [], {"shift": 1.0}))
        scale requires x. Try: scale(x, ...)
        >>> print(_misfit(signature(scale), "scale", [1.0, 2.0, 3.0], {}))
        scale takes at most 2 arguments by position: got 3; expected x, factor. Try: shift=...
    """
    try:
        expected.bind(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
    else:
        return None
    if not expected.parameters:
        return BadType(f"{label} takes no arguments")
    return (
        _unknown_name(expected, label, kwargs)
        or _too_many(expected, label, args)
        or _missing(expected, label, args, kwargs)
        or BadType(f"The arguments of {label} do not fit: {reason}")
    )


def _unknown_name(expected: Signature, label: str, kwargs: Mapping[str, Any]) -> BadInput | None:
    """The error for a name that is no argument's."""
    known = expected.parameters
    if any(p.kind == p.VAR_KEYWORD for p in known.values()):
        return None
    for name in kwargs:
        if name not in known:
            return unknown("argument", name, known, where=label, instead="{}=...", kind=BadType)
    return None


def _too_many(expected: Signature, label: str, args: Sequence[Any]) -> BadInput | None:
    """The error for more arguments by position than there are."""
    known = expected.parameters.values()
    by_position = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in known if p.kind == p.KEYWORD_ONLY]
    if len(args) <= len(by_position) or any(p.kind == p.VAR_POSITIONAL for p in known):
        return None
    return BadType(
        f"{label} takes at most {plural(len(by_position), 'argument')} by position",
        value=len(args),
        allowed=", ".join(by_position),
        instead=f"{by_name[0]}=..." if by_name else "",
    )


def _missing(
    expected: Signature, label: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> BadInput | None:
    """The error for arguments that are required and not given."""
    known = expected.parameters
    required = [p for p in known.values() if p.default is p.empty and "VAR" not in p.kind.name]
    given = {*list(known)[: len(args)], *kwargs}
    missing = [p.name for p in required if p.name not in given]
    if not missing:
        return None
    written = [f"{p.name}=..." if p.kind == p.KEYWORD_ONLY else p.name for p in required]
    written += ["..."] if len(required) < len(known) else []
    return BadType(
        f"{label} requires {', '.join(missing)}", instead=f"{label}({', '.join(written)})"
    )

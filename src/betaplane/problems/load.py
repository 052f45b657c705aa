"""From the words of a command line to a problem: a built-in by name, or one from the user's own
file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from betaplane.errors import BadInput, expect, nearest
from betaplane.problems._file import from_file
from betaplane.problems.check import check, tried
from betaplane.problems.counterexample import counterexample
from betaplane.problems.digits import digits
from betaplane.problems.mnist import mnist
from betaplane.problems.problem import Origin, Problem, Trainer
from betaplane.problems.quadratic import quadratic
from betaplane.problems.reddi import reddi
from betaplane.problems.reproducible import reproducible
from betaplane.problems.sparse import sparse
from betaplane.problems.text import text
from betaplane.problems.valley import valley

BUILT_IN: dict[str, Callable[..., Problem]] = {
    "digits": digits,
    "mnist": mnist,
    "text": text,
    "sparse": sparse,
    "valley": valley,
    "counterexample": counterexample,
    "quadratic": quadratic,
    "reddi": reddi,
}


def load(reference: str) -> Problem | Trainer:
    """The problem a reference names, built and tried on one minibatch.

    A built-in is named with its options, `digits` or `counterexample:n=20,a=0.5`; a value without a name is the
    first option's. Yours is `path/to/file.py:name`, where name is a `Problem`, a `Trainer`, a function without
    arguments that returns one, or a function train(settings, seed) -> losses.

    A file is read twice: numbers that differ, drawn without a seed, would give worker processes and resumed maps
    other data, and are refused.

    Raises:
        BadInput: there is no such problem, option or file, it cannot be trained, or it draws random numbers without a
            seed; the text says which and where.

    Example:
        >>> load("digits:batch_size=16").batch_size
        16
        >>> load("digit")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: There is no such problem: got 'digit'; expected digits, ... Try: digits
    """
    expect(reference, str, "reference", 'load("digits")')
    own = ".py" in reference and reference.partition(":")[0] not in BUILT_IN
    found, made_of = reproducible(reference) if own else (found_by(reference), {})
    if isinstance(found, Problem):
        check(found)
    return replace(found, origin=Origin(reference, made_of))


def found_by(reference: str) -> Problem | Trainer:
    """The problem a reference names, not tried; `load` describes references."""
    name, _, options = reference.partition(":")
    if name in BUILT_IN:
        return _built(name, _options(name, options))
    if ".py" in reference:
        return from_file(reference)
    raise BadInput(
        "There is no such problem",
        value=reference,
        allowed=f"{', '.join(BUILT_IN)} or path/to/file.py:name",
        instead=next(iter(BUILT_IN)),
    )


def _built(name: str, options: dict[str, Any]) -> Problem:
    """A built-in problem; the options it was asked for become part of its name, paths apart."""
    problem = tried(f"Building {name} failed", lambda: BUILT_IN[name](**options))
    told = ",".join(
        f"{key}={value}" for key, value in options.items() if key not in ("data", "path")
    )
    return problem.with_(name=f"{problem.name}:{told}") if told else problem


def _options(name: str, text: str) -> dict[str, Any]:
    """The options of a built-in, read from "n=20,a=0.5"."""
    defaults = {p.name: p.default for p in inspect.signature(BUILT_IN[name]).parameters.values()}
    given: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            key, value = next(iter(defaults)), key
        if key not in defaults:
            raise BadInput(
                f"{name} has no such option",
                value=key,
                allowed=", ".join(defaults),
                where=f"problem {name!r}",
                instead=f"{name}:{_usual(defaults, nearest(key, defaults, ''))}",
            )
        given[key] = _read(value, key, defaults[key], name)
    missing = [
        key
        for key, default in defaults.items()
        if default is inspect.Parameter.empty and key not in given
    ]
    if missing:
        raise BadInput(
            f"{name} needs {missing[0]}",
            where=f"problem {name!r}",
            instead=f"{name}:{missing[0]}=path/to/{name}",
        )
    return given


def _usual(defaults: dict[str, Any], close: str) -> str:
    """An option that can be pasted: the close one if it has such a default, else the first that
    has.
    """
    usual = {key: value for key, value in defaults.items() if isinstance(value, (int, float, str))}
    key = close if close in usual else next(iter(usual))
    return f"{key}={usual[key]}"


def _read(text: str, key: str, default: Any, name: str) -> Any:
    """A value as the type of the option's default; where that is None, a number if it looks like
    one.
    """
    kind = None if default is None else type(default)
    read, allowed = READERS.get(kind, (str, "text"))
    try:
        return read(text)
    except (ValueError, KeyError, OverflowError):
        raise BadInput(
            f"{key} cannot be read",
            value=text,
            allowed=allowed,
            where=f"problem {name!r}",
            instead=f"{name}:{key}={str(default).removeprefix('torch.')}",
        ) from None


def _whole(text: str) -> int:
    number = float(text)
    if number != int(number):
        raise ValueError(text)
    return int(number)


def _guessed(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


READERS: dict[type | None, tuple[Callable[[str], Any], str]] = {
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    int: (_whole, "a whole number"),
    float: (float, "a number"),
    torch.dtype: (
        lambda text: {"float32": torch.float32, "float64": torch.float64}[text],
        "float32 or float64",
    ),
    None: (_guessed, "a number or text"),
}

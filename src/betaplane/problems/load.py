"""Load a problem by reference: a built-in by name and options, or one in the user's own file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from betaplane.errors import BadInput, expect, nearest, unknown
from betaplane.problems._file import from_file
from betaplane.problems.check import call_user_code, check
from betaplane.problems.counterexample import counterexample
from betaplane.problems.digits import digits
from betaplane.problems.linear_transformer import linear_transformer
from betaplane.problems.mnist import mnist
from betaplane.problems.modular import modular
from betaplane.problems.origin import Origin
from betaplane.problems.power import power
from betaplane.problems.problem import Problem, Trainer
from betaplane.problems.quadratic import quadratic
from betaplane.problems.rare_classes import rare_classes
from betaplane.problems.reddi import reddi
from betaplane.problems.reproducible import load_twice
from betaplane.problems.sparse import sparse
from betaplane.problems.text import text
from betaplane.problems.valley import valley

BUILT_IN: dict[str, Callable[..., Problem]] = {
    "digits": digits,
    "mnist": mnist,
    "text": text,
    "sparse": sparse,
    "modular": modular,
    "rare_classes": rare_classes,
    "linear_transformer": linear_transformer,
    "valley": valley,
    "counterexample": counterexample,
    "quadratic": quadratic,
    "reddi": reddi,
    "power": power,
}


def load(reference: str) -> Problem | Trainer:
    """Load the problem that a reference names, and check it on one minibatch.

    A built-in is named with its options: `digits` or `counterexample:n=20,a=0.5`. A value without a
    name sets the first option. A problem of your own is `path/to/file.py:name`; name is a
    `Problem`, a `Trainer`, a function without arguments that returns one, or a function
    train(settings, seed) -> losses.

    A file is executed twice. If its numbers differ, as numbers drawn without a seed do, worker
    processes and resumed maps would train on other data; such a file is rejected.

    Args:
        reference: name and options of a built-in problem, or file and name of your own.

    Raises:
        BadInput: the problem, option or file does not exist, it cannot be trained, or it draws
            random numbers without a seed.

    Example:
        >>> load("digits:batch_size=16").batch_size
        16
        >>> load("digit")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: Unknown problem 'digit'. Did you mean 'digits'? Choose ...
    """
    expect(reference, str, "reference", 'load("digits")')
    in_file = ".py" in reference and reference.partition(":")[0] not in BUILT_IN
    problem, contents = load_twice(reference) if in_file else (find_problem(reference), {})
    if isinstance(problem, Problem):
        check(problem)
    return replace(problem, origin=Origin(reference, contents))


def find_problem(reference: str) -> Problem | Trainer:
    """The problem that a reference names, not checked; `load` describes references."""
    name, _, options = reference.partition(":")
    if name in BUILT_IN:
        return _built(name, _options(name, options))
    if ".py" in reference:
        return from_file(reference)
    raise unknown("problem", name, [*BUILT_IN, "path/to/file.py:name"])


def _built(name: str, options: dict[str, Any]) -> Problem:
    """A built-in problem; its options, except paths, become part of its name."""
    problem = call_user_code(f"Building {name} failed", lambda: BUILT_IN[name](**options))
    suffix = ",".join(
        f"{key}={value}" for key, value in options.items() if key not in ("data", "path")
    )
    return problem.with_(name=f"{problem.name}:{suffix}") if suffix else problem


def _options(name: str, text: str) -> dict[str, Any]:
    """The options of a built-in, parsed from "n=20,a=0.5"."""
    defaults = {p.name: p.default for p in inspect.signature(BUILT_IN[name]).parameters.values()}
    options: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            key, value = next(iter(defaults)), key
        if key not in defaults:
            example = f"{name}:{_example(defaults, nearest(key, defaults, ''))}"
            raise unknown("option", key, defaults, where=f"problem {name!r}", instead=example)
        options[key] = _read(value, key, defaults[key], name)
    missing = [
        key
        for key, default in defaults.items()
        if default is inspect.Parameter.empty and key not in options
    ]
    if missing:
        raise BadInput(
            f"{name} needs {missing[0]}",
            where=f"problem {name!r}",
            instead=f"{name}:{missing[0]}=path/to/{name}",
        )
    return options


def _example(defaults: dict[str, Any], close: str) -> str:
    """An option that can be pasted: the nearest one, or the first one with a plain default."""
    plain = {key: value for key, value in defaults.items() if isinstance(value, (int, float, str))}
    key = close if close in plain else next(iter(plain))
    return f"{key}={plain[key]}"


def _read(text: str, key: str, default: Any, name: str) -> Any:
    """A value in the type of the option's default; if that is None, a number or else text."""
    parse, allowed = PARSERS.get(None if default is None else type(default), (str, "text"))
    try:
        return parse(text)
    except (ValueError, KeyError, OverflowError):
        raise BadInput(
            f"{key} cannot be parsed",
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


def _number_or_text(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


PARSERS: dict[type | None, tuple[Callable[[str], Any], str]] = {
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    int: (_whole, "a whole number"),
    float: (float, "a number"),
    torch.dtype: (
        lambda text: {"float32": torch.float32, "float64": torch.float64}[text],
        "float32 or float64",
    ),
    None: (_number_or_text, "a number or text"),
}

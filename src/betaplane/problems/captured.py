"""Every number, tensor and generator that a user's function refers to: closures, defaults, globals,
attributes.
"""

from __future__ import annotations

import random
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST = 100_000  # values looked at: more than any file writes down
STATES = random.Random, np.random.Generator, np.random.RandomState, torch.Generator
GLOBAL = (
    getattr(random, "_inst", None),
    getattr(np.random.mtrand, "_rand", None),
    torch.default_generator,
)
LEAVES = Tensor, np.ndarray, np.generic, int, float, complex, *STATES
LIBRARIES = (  # what files that are not the user's begin with
    *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    str(Path(torch.__file__).parents[1]),
    str(Path(__file__).parents[1]),
    "<frozen",
)
Named = tuple[str, Any]


def captured(name: str, value: object, skip: tuple = ()) -> Iterator[Named]:
    """The leaves that a value leads to, each once, named by the way to it.

    Args:
        name: what the value is called.
        value: a function, a class, a module, an object, a container of them.
        skip: objects that are not looked at.

    Example:
        >>> import betaplane.problems.captured as here
        >>> weight = torch.ones(2)
        >>> [name for name, _ in captured("loss", lambda y, t: ((y - t) * weight).sum())]
        ['loss: weight']
    """
    seen = {id(one): one for one in (*skip, *GLOBAL)}  # holds them, so that no id is used twice
    waiting = [(name, value)]
    while waiting and len(seen) < MOST:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, LEAVES):
            yield name, value
        else:
            waiting += [
                (f"{name}: {label}" if ":" not in name else f"{name}.{label}", one)
                for label, one in _in(value)
            ]


def users(file: str | None) -> bool:
    """Whether code of this file is the user's own, and not a library's."""
    return file is None or not file.startswith(LIBRARIES)


def _in(value: Any) -> list[Named]:
    """What a value that is no leaf holds."""
    if isinstance(value, FunctionType):
        return [
            *_cells(value),
            *_defaults(value),
            *(_globals(value) if users(value.__code__.co_filename) else ()),
        ]
    if isinstance(value, MethodType):
        return [("self", value.__self__), (value.__name__, value.__func__)]
    if isinstance(value, partial):
        return [("function", value.func), *_items(value.args), *value.keywords.items()]
    if isinstance(value, Mapping):
        return [(str(key), one) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return _items(value)
    if isinstance(value, (set, frozenset)):  # of objects, which have no order, nothing
        return _items(sorted(one for one in value if isinstance(one, (int, float))))
    if isinstance(value, (staticmethod, classmethod, property)):
        return [("function", value.fget if isinstance(value, property) else value.__func__)]
    if isinstance(value, type):
        return list(vars(value).items()) + _items(value.__bases__) if users(_file(value)) else []
    if isinstance(value, (ModuleType, str, bytes)) or value is None:
        return []
    return _attributes(value)


def _attributes(value: Any) -> list[Named]:
    """An object's attributes; of a library's class only tensors and objects, since counters and
    times may differ.
    """
    try:
        held = dict(vars(value))
    except Exception:  # no attributes, or a class of its own ideas
        return []
    if users(_file(type(value))) or isinstance(value, nn.Module):
        return [*held.items(), ("class", type(value))]
    return [(name, one) for name, one in held.items() if not isinstance(one, (int, float, complex))]


def _items(values: Any) -> list[Named]:
    return [(str(i), one) for i, one in enumerate(values)]


def _cells(function: FunctionType) -> Iterator[Named]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _defaults(function: FunctionType) -> list[Named]:
    return [*_items(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]


def _globals(function: FunctionType) -> Iterator[Named]:
    """The globals that the function's code names, and what it names of the user's other files."""
    names = set(_names(function.__code__))
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif users(getattr(value, "__file__", None)):
            yield from (
                (f"{name}.{inner}", vars(value)[inner])
                for inner in sorted(names & vars(value).keys())
            )


def _names(code: CodeType) -> Iterator[str]:
    """The names in a function's code and in that of functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _file(kind: type) -> str | None:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or _BUILT_IN.get(
        kind.__module__
    )


_BUILT_IN = dict.fromkeys(sys.builtin_module_names, "<frozen")

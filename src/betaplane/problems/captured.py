"""Numbers, tensors and generators that a user's function refers to by closure, default, global or
attribute.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.problems.user_code import is_user_code

MAX_VALUES = 100_000  # values visited: more than any file contains
GENERATORS = random.Random, np.random.Generator, np.random.RandomState, torch.Generator
GLOBAL_GENERATORS = (
    getattr(random, "_inst", None),
    getattr(np.random.mtrand, "_rand", None),
    torch.default_generator,
)
LEAVES = Tensor, np.ndarray, np.generic, int, float, complex, *GENERATORS
Named = tuple[str, Any]


def captured_values(name: str, value: object, skip: tuple = ()) -> Iterator[Named]:
    """The numbers, tensors and generators that a value refers to, each once, with its path.

    Args:
        name: name of the value.
        value: a function, a class, a module, an object, a container of them.
        skip: objects that are not visited.

    Example:
        >>> weight = torch.ones(2)
        >>> [name for name, _ in captured_values("loss", lambda y, t: ((y - t) * weight).sum())]
        ['loss: weight']
    """
    # the dict refers to the objects, so that no id is used twice
    seen = {id(item): item for item in (*skip, *GLOBAL_GENERATORS)}
    waiting = [(name, value)]
    while waiting and len(seen) < MAX_VALUES:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, LEAVES):
            yield name, value
        else:
            waiting += [
                (f"{name}: {label}" if ":" not in name else f"{name}.{label}", member)
                for label, member in _members(value)
            ]


def _members(value: Any) -> list[Named]:
    """The objects that a value which is not a leaf refers to."""
    if isinstance(value, FunctionType):
        return [
            *_cells(value),
            *_defaults(value),
            *(_globals(value) if is_user_code(value.__code__.co_filename) else ()),
        ]
    if isinstance(value, MethodType):
        return [("self", value.__self__), (value.__name__, value.__func__)]
    if isinstance(value, partial):
        return [("function", value.func), *_items(value.args), *value.keywords.items()]
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return _items(value)
    if isinstance(value, (set, frozenset)):  # only numbers: objects have no order
        return _items(sorted(item for item in value if isinstance(item, (int, float))))
    if isinstance(value, (staticmethod, classmethod, property)):
        return [("function", value.fget if isinstance(value, property) else value.__func__)]
    if isinstance(value, type):
        return (
            list(vars(value).items()) + _items(value.__bases__)
            if is_user_code(_file(value))
            else []
        )
    if isinstance(value, (ModuleType, str, bytes)) or value is None:
        return []
    return _attributes(value)


def _attributes(value: Any) -> list[Named]:
    """An object's attributes.

    Numbers in objects of a library are omitted, since counters and times may differ.
    """
    try:
        attributes = dict(vars(value))
    except Exception:  # no attributes, or a class that overrides `__dict__`
        return []
    if is_user_code(_file(type(value))) or isinstance(value, nn.Module):
        return [*attributes.items(), ("class", type(value))]
    numbers = (int, float, complex)
    return [(name, item) for name, item in attributes.items() if not isinstance(item, numbers)]


def _items(values: Any) -> list[Named]:
    return [(str(i), item) for i, item in enumerate(values)]


def _cells(function: FunctionType) -> Iterator[Named]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _defaults(function: FunctionType) -> list[Named]:
    return [*_items(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]


def _globals(function: FunctionType) -> Iterator[Named]:
    """The globals that the function's code names, including names in the user's other files."""
    names = set(_names(function.__code__))
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif is_user_code(getattr(value, "__file__", None)):
            yield from (
                (f"{name}.{inner}", vars(value)[inner])
                for inner in sorted(names & vars(value).keys())
            )


def _names(code: CodeType) -> Iterator[str]:
    """The names in the code of a function and of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _file(cls: type) -> str | None:
    """The file that defines a class; "<frozen" for built-in modules, None if it is not known."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file or _BUILT_IN_FILES.get(cls.__module__)


_BUILT_IN_FILES = dict.fromkeys(sys.builtin_module_names, "<frozen")

"""Snapshots of everything that a problem's code can change: compare and restore.

A forward pass may change more than parameters and buffers: attributes and lists in them, objects
and variables of closures and globals, class attributes, its own generators. `Snapshot` visits all
of these from the given objects, and copies the content of every container. Code of installed
libraries is not visited.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from betaplane.problems.containers import PLAIN, Content, Holder, Names, holder, same
from betaplane.problems.user_code import is_user_code

EXTERNAL_MODULES = {  # the results of their functions differ from call to call
    "time",
    "datetime",
    "secrets",
    "uuid",
    "os",
    "socket",
    "threading",
    "subprocess",
    "select",
}
OPAQUE_MODULES = {  # the attributes of their objects are not visited
    "logging",
    "threading",
    "_thread",
    "multiprocessing",
    "asyncio",
    "concurrent",
    "weakref",
    "_weakref",
    "io",
}
MAX_OBJECTS = 200_000  # visited

# types with attributes that Python cannot read
SCRIPTED = (torch.jit.ScriptModule, torch.jit.ScriptFunction, torch.ScriptObject)
GLOBAL_HOOKS = {  # by name: the hooks that torch calls for every module
    name: hooks
    for name, hooks in vars(global_hooks).items()
    if name.startswith("_global_") and name.endswith("_hooks")
}

Named = tuple[str, Any]  # a path and its object


class Snapshot:
    """The content of everything that can be reached from some objects.

    Args:
        roots: objects by name: modules, functions, anything.
        skipped: objects that are not visited, such as the parameters and buffers that a run may
            change.

    Attributes:
        unseen: why some state may not have been visited, or "": an iterator, which cannot be read
            without advancing it; a scripted module or function; or more objects than the maximum.
        outside: the use of a clock, a file or the system by a function, or "".

    Example:
        >>> class Net(nn.Module):
        ...     calls = 0
        ...     def forward(self, x):
        ...         self.calls += 1
        ...         return x
        >>> net = Net()
        >>> before = Snapshot({"net": net})
        >>> _ = net(1)
        >>> before.changed()
        'net.calls'
        >>> before.put_back()
        >>> net.calls, before.changed()
        (0, '')
    """

    def __init__(self, roots: dict[str, Any], skipped: Iterable[Any] = ()) -> None:
        self.unseen = self.outside = ""
        self._saved: list[tuple[str, Any, Holder, Content]] = []
        self._seen: dict[int, Any] = {id(item): item for item in skipped}
        waiting = list(roots.items())
        while waiting and len(self._seen) < MAX_OBJECTS:
            path, item = waiting.pop()
            if not isinstance(item, PLAIN) and id(item) not in self._seen:
                self._seen[id(item)] = item
                waiting += self._visit(path, item)
        if waiting:
            self.unseen = f"there are more than {MAX_OBJECTS:,} objects"

    def _visit(self, path: str, item: Any) -> Iterator[Named]:
        if isinstance(item, SCRIPTED):
            self.unseen = (
                self.unseen or f"{path} is scripted, and its attributes cannot all be read"
            )
        container = holder(type(item))
        if container is None:
            yield from self._members(path, item)
        else:
            content = container.read(item)
            self._saved.append((path, item, container, content))
            if not container.values:
                yield from ((_under(path, key), value) for key, value in content.items())
        top_module = type(item).__module__.split(".")[0]
        if not isinstance(item, types.ModuleType) and top_module not in OPAQUE_MODULES:
            attributes = getattr(item, "__dict__", None)
            if type(attributes) is dict:
                yield path, attributes
            yield path, type(item)

    def _members(self, path: str, item: Any) -> Iterator[Named]:
        """The objects that an object which is not a container refers to."""
        if isinstance(item, types.FunctionType):
            yield from self._function(path, item)
        elif isinstance(item, type):
            yield from _class(item)
        elif isinstance(item, tuple | frozenset):
            yield from ((_under(path, i), member) for i, member in enumerate(item))
        elif isinstance(item, Iterator) and not isinstance(item, nn.Module):
            self.unseen = self.unseen or f"{path} is an iterator ({type(item).__name__})"
        else:
            yield from (
                (_under(path, name), getattr(item, name))
                for name in _attribute_names(item)
                if hasattr(item, name)
            )

    def _function(self, path: str, function: types.FunctionType) -> Iterator[Named]:
        """Closure, defaults, and the globals that the function's code names."""
        code, names = function.__code__, _names(function.__code__)
        yield from zip(code.co_freevars, function.__closure__ or (), strict=True)
        yield from ((path, values) for values in (function.__defaults__, function.__kwdefaults__))
        if not is_user_code(code.co_filename):
            return
        yield "", Names(function.__globals__, names)
        for name in names & function.__globals__.keys():
            value = function.__globals__[name]
            if _library(value) == "os":
                yield "os.environ", os.environ
            if function.__name__ != "__init__" and _library(value) in EXTERNAL_MODULES:
                self.outside = self.outside or f"{function.__qualname__} uses {name!r}"
            elif isinstance(value, types.ModuleType) and is_user_code(
                getattr(value, "__file__", None) or "<frozen"
            ):
                yield name, Names(vars(value), names)

    def changed(self) -> str:
        """The path of something that has changed, or ""."""
        for path, item, container, content in self._saved:
            current = container.read(item)
            if not same(current, content):
                keys = [
                    key
                    for key in {**content, **current}
                    if not same(_only(current, key), _only(content, key))
                ]
                return _under(path, keys[0]) if keys else path
        return ""

    def put_back(self) -> None:
        """Restore everything that has changed."""
        for _, item, container, content in self._saved:
            if not same(container.read(item), content):
                container.write(item, content)


@contextmanager
def put_back(**roots: Any) -> Iterator[Snapshot]:
    """Restore, at the end of the block, everything that changed inside it."""
    before = Snapshot({**roots, **GLOBAL_HOOKS})
    try:
        yield before
    finally:
        before.put_back()


def _class(cls: type) -> Iterator[Named]:
    """The attributes and bases of a class that is not a library's."""
    module = sys.modules.get(cls.__module__)
    if (
        module is not None
        and cls.__module__ != "__main__"
        and not is_user_code(getattr(module, "__file__", None) or "<frozen")
    ):
        return
    yield from ((base.__qualname__, base) for base in cls.__bases__)
    yield cls.__qualname__, Names(cls)


ATTRIBUTES = {
    types.MethodType: ("__self__", "__func__"),
    functools.partial: ("func", "args", "keywords"),
    property: ("fget", "fset"),
    staticmethod: ("__wrapped__",),
    classmethod: ("__wrapped__",),
    functools._lru_cache_wrapper: ("__wrapped__",),
}


def _attribute_names(item: Any) -> list[str]:
    """Names of the attributes to visit of an object without a `__dict__`, its slots included."""
    for cls, names in ATTRIBUTES.items():
        if isinstance(item, cls):
            return [*names]
    slots = (getattr(cls, "__slots__", ()) for cls in type(item).__mro__ if not _of_builtins(cls))
    return [
        name
        for names in slots
        for name in ((names,) if isinstance(names, str) else names)
        if not name.startswith("__")
    ]


def _of_builtins(cls: type) -> bool:
    return cls.__module__ in ("builtins", "typing", "abc")


def _library(item: Any) -> str:
    """The top-level module that an object belongs to."""
    is_module = isinstance(item, types.ModuleType)
    name = item.__name__ if is_module else getattr(item, "__module__", None)
    return name.split(".")[0] if isinstance(name, str) else ""


def _names(code: types.CodeType) -> frozenset[str]:
    """The names in the code of a function and of the functions inside it."""
    inner = (
        _names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)
    )
    return frozenset(code.co_names).union(*inner)


def _only(content: Content, key: Any) -> Content:
    return {key: content[key]} if key in content else {}


def _under(path: str, key: Any) -> str:
    if key in ("", "_modules", "_parameters", "_buffers"):
        return path
    return f"{path}.{key}".lstrip(".") if isinstance(key, str) else f"{path}[{key!r}]"

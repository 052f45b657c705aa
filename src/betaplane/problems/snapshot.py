"""Everything that a problem's code can change: visit it, compare it, put it back.

A forward pass may change more than parameters and buffers: attributes, lists they hold, objects and
variables that functions see through closures and globals, class attributes, generators of its own.
`Snapshot` visits all of it from the objects it is given, and keeps the content of every container.
Code of installed libraries is not visited.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks

from betaplane.problems.containers import PLAIN, Content, Holder, Names, holder, same

LIBRARIES = (
    *(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(torch.__file__).parent),
    str(Path(__file__).parents[1]),
    "<frozen",
)
CLOCKS = {
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
CLOSED = {
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
MOST = 200_000  # objects visited

# their attributes are not Python's
SCRIPTED = (torch.jit.ScriptModule, torch.jit.ScriptFunction, torch.ScriptObject)
GLOBAL_HOOKS = {  # by name, those that torch calls for every module
    name: hooks
    for name, hooks in vars(global_hooks).items()
    if name.startswith("_global_") and name.endswith("_hooks")
}

Named = tuple[str, Any]  # a path and the object there


class Snapshot:
    """The content, at one moment, of everything reachable from some objects.

    Args:
        roots: objects by name: modules, functions, anything.
        skipped: objects that are not visited, as the parameters and buffers that a run may change.

    Attributes:
        unseen: why there may be more than was visited, or "": an iterator, which cannot be read without being
            advanced, a scripted module or function, or more objects than are visited.
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
        self._seen: dict[int, Any] = {id(one): one for one in skipped}
        todo = list(roots.items())
        while todo and len(self._seen) < MOST:
            path, found = todo.pop()
            if not isinstance(found, PLAIN) and id(found) not in self._seen:
                self._seen[id(found)] = found
                todo += self._visit(path, found)
        if todo:
            self.unseen = f"there are more than {MOST:,} objects"

    def _visit(self, path: str, found: Any) -> Iterator[Named]:
        if isinstance(found, SCRIPTED):
            self.unseen = (
                self.unseen or f"{path} is scripted, and its attributes cannot all be read"
            )
        kind = holder(type(found))
        if kind is None:
            yield from self._through(path, found)
        else:
            content = kind.read(found)
            self._saved.append((path, found, kind, content))
            yield from (
                [] if kind.values else ((_under(path, key), one) for key, one in content.items())
            )
        if (
            not isinstance(found, types.ModuleType)
            and type(found).__module__.split(".")[0] not in CLOSED
        ):
            own = getattr(found, "__dict__", None)
            yield from [(path, own)] if type(own) is dict else []
            yield path, type(found)

    def _through(self, path: str, found: Any) -> Iterator[Named]:
        """What is reached through an object that is no container."""
        if isinstance(found, types.FunctionType):
            yield from self._function(path, found)
        elif isinstance(found, type):
            yield from _class(found)
        elif isinstance(found, tuple | frozenset):
            yield from ((_under(path, i), one) for i, one in enumerate(found))
        elif isinstance(found, Iterator) and not isinstance(found, nn.Module):
            self.unseen = self.unseen or f"{path} is an iterator ({type(found).__name__})"
        else:
            yield from (
                (_under(path, name), getattr(found, name))
                for name in _parts(found)
                if hasattr(found, name)
            )

    def _function(self, path: str, function: types.FunctionType) -> Iterator[Named]:
        """Closure and defaults, and the globals that the function's code names."""
        code, names = function.__code__, _names(function.__code__)
        yield from zip(code.co_freevars, function.__closure__ or (), strict=True)
        yield from ((path, one) for one in (function.__defaults__, function.__kwdefaults__))
        if _of_library(code.co_filename):
            return
        yield "", Names(function.__globals__, names)
        for name in names & function.__globals__.keys():
            used = function.__globals__[name]
            if _top(used) == "os":
                yield "os.environ", os.environ
            if function.__name__ != "__init__" and _top(used) in CLOCKS:
                self.outside = self.outside or f"{function.__qualname__} uses {name!r}"
            elif isinstance(used, types.ModuleType) and not _of_library(
                getattr(used, "__file__", None) or LIBRARIES[0]
            ):
                yield name, Names(vars(used), names)

    def changed(self) -> str:
        """The path of something that is not as it was, or ""."""
        for path, found, kind, content in self._saved:
            now = kind.read(found)
            if not same(now, content):
                keys = [
                    key
                    for key in {**content, **now}
                    if not same(_only(now, key), _only(content, key))
                ]
                return _under(path, keys[0]) if keys else path
        return ""

    def put_back(self) -> None:
        """Make everything as it was."""
        for _, found, kind, content in self._saved:
            if not same(kind.read(found), content):
                kind.write(found, content)


@contextmanager
def put_back(**roots: Any) -> Iterator[Snapshot]:
    """Whatever changes inside is put back at the end."""
    before = Snapshot({**roots, **GLOBAL_HOOKS})
    try:
        yield before
    finally:
        before.put_back()


def _class(found: type) -> Iterator[Named]:
    """The attributes of a class that is not a library's, and its bases."""
    module = sys.modules.get(found.__module__)
    if (
        module is not None
        and found.__module__ != "__main__"
        and _of_library(getattr(module, "__file__", None) or "<frozen")
    ):
        return
    yield from ((base.__qualname__, base) for base in found.__bases__)
    yield found.__qualname__, Names(found)


PARTS = {
    types.MethodType: ("__self__", "__func__"),
    functools.partial: ("func", "args", "keywords"),
    property: ("fget", "fset"),
    staticmethod: ("__wrapped__",),
    classmethod: ("__wrapped__",),
    functools._lru_cache_wrapper: ("__wrapped__",),
}


def _parts(found: Any) -> list[str]:
    """Names of the attributes that lead on from an object without a `__dict__`: those of its kind,
    and its slots.
    """
    for kind, names in PARTS.items():
        if isinstance(found, kind):
            return [*names]
    slots = (getattr(cls, "__slots__", ()) for cls in type(found).__mro__ if not _of_builtins(cls))
    return [
        name
        for own in slots
        for name in ((own,) if isinstance(own, str) else own)
        if not name.startswith("__")
    ]


def _of_builtins(cls: type) -> bool:
    return cls.__module__ in ("builtins", "typing", "abc")


def _of_library(file: str) -> bool:
    return file.startswith(LIBRARIES)


def _top(found: Any) -> str:
    """The library that an object belongs to."""
    name = (
        found.__name__
        if isinstance(found, types.ModuleType)
        else getattr(found, "__module__", None)
    )
    return name.split(".")[0] if isinstance(name, str) else ""


def _names(code: types.CodeType) -> frozenset[str]:
    """The names that a function's code uses, in the functions inside it too."""
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

"""Problems that live in the user's own Python file."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any

from betaplane.errors import BadInput
from betaplane.problems.check import told
from betaplane.problems.module import executed, importable
from betaplane.problems.problem import Problem, Trainer

KINDS = (
    "a Problem, a Trainer, a function without arguments that returns one, or train(settings, seed)"
)


def from_file(reference: str) -> Problem | Trainer:
    """What "path/to/file.py:name" names; the file's folder is importable while it is read."""
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py"):
        file, name = reference, ""
    path = Path(file).expanduser()
    if not path.is_file():
        raise BadInput(
            "There is no such problem file", value=file, allowed="a Python file that exists"
        )
    with importable(path.resolve().parent):
        module = executed(path.resolve())
        found = _named(module, name, path)
        if inspect.isfunction(found):
            found = _from_function(found, name, path)
    if isinstance(found, Trainer):
        return replace(found, train=_Train(f"{path.resolve()}:{name}", found.train))
    if not isinstance(found, Problem):
        raise BadInput(
            f"{name} is not a problem", value=type(found).__name__, allowed=KINDS, where=str(path)
        )
    return found


class _Train:
    """A user's train function; pickled as its reference, so that a worker process loads the file
    for itself.
    """

    def __init__(self, reference: str, train: Any) -> None:
        self.reference = reference
        update_wrapper(self, train)

    def __call__(self, settings: dict[str, float], seed: int) -> Any:
        return self.__wrapped__(settings, seed)  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple:
        return _again, (self.reference,)


def _again(reference: str) -> Any:
    found = from_file(reference)
    return found.train if isinstance(found, Trainer) else None


def _named(module: ModuleType, name: str, path: Path) -> Any:
    if name and hasattr(module, name):
        return getattr(module, name)
    candidates = [key for key, value in vars(module).items() if _candidate(value, module)]
    raise BadInput(
        f"The file has no {name!r}" if name else "The name of the problem is missing",
        allowed=", ".join(candidates) or f"{KINDS}: the file has none of them yet",
        where=str(path),
        instead=f"{path}:{candidates[0] if candidates else 'problem'}",
    )


def _candidate(value: object, module: ModuleType) -> bool:
    own = inspect.isfunction(value) and value.__module__ == module.__name__
    return isinstance(value, (Problem, Trainer)) or own


def _from_function(function: Any, name: str, path: Path) -> Any:
    """What a function without arguments returns; train(settings, seed) becomes a Trainer."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in positional
    ]
    if len(needed) == 2:
        return Trainer(name, function)
    if needed:
        raise BadInput(
            f"{name} takes {len(needed)} arguments",
            value=", ".join(p.name for p in needed),
            allowed="none (returns a Problem or a Trainer) or two (settings, seed)",
            where=str(path),
            instead=f"def {name}():",
        )
    try:
        return function()
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{name}() raises an error", where=told(error)) from error

"""Load a problem from the user's own Python file."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any

from betaplane.errors import BadInput, nearest
from betaplane.problems.check import error_line
from betaplane.problems.commands.as_trainer import from_command
from betaplane.problems.commands.command import Command
from betaplane.problems.module import import_file, importable
from betaplane.problems.problem import Problem, Trainer

ALLOWED = "a Problem, a Trainer, a Command, a function without arguments that returns one, or train(settings, seed)"


def from_file(reference: str) -> Problem | Trainer:
    """The problem that "path/to/file.py:name" names.

    The file's folder is on sys.path while the file runs.
    """
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py"):
        file, name = reference, ""
    path = Path(file).expanduser()
    if not path.is_file():
        raise BadInput(
            "The problem file does not exist", value=file, allowed="a Python file that exists"
        )
    with importable(path.resolve().parent):
        module = import_file(path.resolve())
        problem = _attribute(module, name, path)
        if inspect.isfunction(problem):
            problem = _from_function(problem, name, path)
    if isinstance(problem, Command):
        return from_command(problem)
    if isinstance(problem, Trainer) and problem.command is None:
        return replace(problem, train=_Train(f"{path.resolve()}:{name}", problem.train))
    if not isinstance(problem, (Problem, Trainer)):
        raise BadInput(
            f"{name} is not a problem",
            value=type(problem).__name__,
            allowed=ALLOWED,
            where=str(path),
        )
    return problem


class _Train:
    """A user's train function, pickled as its reference: each worker process loads the file."""

    def __init__(self, reference: str, train: Any) -> None:
        self.reference = reference
        update_wrapper(self, train)

    def __call__(self, settings: dict[str, float], seed: int) -> Any:
        return self.__wrapped__(settings, seed)  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple:
        return _load_train, (self.reference,)


def _load_train(reference: str) -> Any:
    problem = from_file(reference)
    return problem.train if isinstance(problem, Trainer) else None


def _attribute(module: ModuleType, name: str, path: Path) -> Any:
    if name and hasattr(module, name):
        return getattr(module, name)
    candidates = [key for key, value in vars(module).items() if _is_candidate(value, module)]
    # a function may be anything, so problems are proposed first
    first = sorted(candidates, key=lambda key: inspect.isfunction(getattr(module, key)))
    close = nearest(name, first, next(iter(first), "problem"))
    raise BadInput(
        f"The file has no {name!r}" if name else "The name of the problem is missing",
        allowed=", ".join(candidates) or f"{ALLOWED}: the file has none of them yet",
        where=str(path),
        instead=f"{path}:{close}",
    )


def _is_candidate(value: object, module: ModuleType) -> bool:
    defined_here = inspect.isfunction(value) and value.__module__ == module.__name__
    return isinstance(value, (Problem, Trainer, Command)) or defined_here


def _from_function(function: Any, name: str, path: Path) -> Any:
    """The result of a function without arguments; train(settings, seed) becomes a Trainer."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in positional
    ]
    if len(required) == 2:
        return Trainer(name, function)
    if required:
        raise BadInput(
            f"{name} takes {len(required)} arguments",
            value=", ".join(p.name for p in required),
            allowed="none (returns a Problem or a Trainer) or two (settings, seed)",
            where=str(path),
            instead=f"def {name}():",
        )
    try:
        return function()
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{name}() raises an error", where=error_line(error)) from error

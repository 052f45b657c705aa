"""Send a problem to workers on other machines: its code and its data by value.

Such a worker may have neither the user's file nor its folder, so functions and classes of the
user's own modules are pickled by value. Installed packages are imported by the worker.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import platform
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer
from betaplane.problems.contents import contents
from betaplane.problems.reproducible import check_same_contents
from betaplane.problems.user_code import is_user_code


def versions() -> dict[str, str]:
    """The versions that must be the same on all machines, so that every run computes the same."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__.partition("+")[0],  # the rest names the device
        "betaplane": metadata.version("betaplane"),
    }


@dataclass(frozen=True)
class Manifest:
    """What a worker must know about a problem before it unpickles it.

    Args:
        name: of the problem.
        threads: of torch, per call.
    """

    name: str
    threads: int = 1
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    versions: Mapping[str, str] = field(default_factory=versions)
    folder: str = field(default_factory=os.getcwd)  # the current one of the sender

    def check_versions(self) -> None:
        """Raise BadInput if this machine has other versions than the sender."""
        here = versions()
        for package, version in self.versions.items():
            if here[package] != version:
                raise BadInput(
                    f"A worker has another version of {package}",
                    value=f"{package} {here[package]} on {platform.node()}",
                    allowed=f"{package} {version}, as in the process that sends the runs",
                )

    def open(self, payload: bytes) -> Problem | Trainer:
        """The problem, in a worker.

        Raises:
            BadInput: a package is missing, or the functions refer to other numbers than at the
                sender's.
        """
        try:
            problem, numbers = pickle.loads(payload)
        except Exception as error:
            raise BadInput(
                f"A worker cannot load the problem ({type(error).__name__}: {error})",
                value=platform.node(),
                allowed="the packages of the process that sends the runs, on every machine",
                where=f"problem {self.name!r}",
            ) from error
        check_same_contents(numbers, problem, f"problem {self.name!r}")
        return problem


def pack(problem: Problem | Trainer, threads: int = 1) -> tuple[Manifest, bytes]:
    """The manifest and the payload of a problem.

    Args:
        problem: what is trained.
        threads: of torch, per call.

    Raises:
        BadInput: it cannot be pickled.
    """
    problem = replace(problem, origin=None)
    if isinstance(problem, Trainer) and hasattr(problem.train, "reference"):
        # the function itself, and not the reference to the user's file; see `problems._file`
        problem = replace(problem, train=inspect.unwrap(problem.train))
    numbers = contents(problem, data=False)
    try:
        payload = dump((problem, numbers))
    except Exception as error:
        raise BadInput(
            f"The problem cannot be sent to other machines ({type(error).__name__}: {error})",
            allowed="functions and data that cloudpickle can pickle",
            where=f"problem {problem.name!r}",
            instead="make such objects inside of the functions that use them",
        ) from error
    return Manifest(problem.name, threads), payload


def dump(value: Any) -> bytes:
    """Pickle a value; what the user's own modules define is pickled by value."""
    with _by_value():
        return cloudpickle.dumps(value)


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    """Inside the block, cloudpickle pickles functions and classes of the user's modules by value."""
    before = set(cloudpickle.list_registry_pickle_by_value())
    own = [module for name, module in list(sys.modules.items()) if _is_own(name, module, before)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(name: str, module: Any, registered: set[str]) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name == "__main__" or name in registered:
        return False  # `__main__` is pickled by value in any case
    return getattr(module, "__name__", "") == name and is_user_code(file)


def in_folder(folder: str) -> contextlib.AbstractContextManager:
    """Make a folder the current one inside the block, if it exists."""
    return contextlib.chdir(folder) if Path(folder).is_dir() else contextlib.nullcontext()

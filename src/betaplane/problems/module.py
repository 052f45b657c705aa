"""A user's own Python file as a module."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from betaplane.errors import BadInput
from betaplane.problems.captured import users
from betaplane.problems.check import told


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """The folder at the front of sys.path, for the time of the with block."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def executed(path: Path) -> ModuleType:
    """The file, run as a module under a name of its own, by which pickle finds it and no other
    module is replaced.

    Args:
        path: absolute, of a file that exists.

    Raises:
        BadInput: it is no Python file, or raises an error.
    """
    unique = f"betaplane_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise BadInput("The file cannot be imported", value=str(path), allowed="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[unique]
        raise BadInput("The file raises an error when it is imported", where=told(error)) from error
    return module


@contextmanager
def imported_again(folder: Path) -> Iterator[None]:
    """Inside the block the user's files in this folder are imported as if for the first time,
    without a word.
    """
    names = [
        name
        for name, module in sys.modules.items()
        if _within(folder, getattr(module, "__file__", None))
    ]
    before = {name: sys.modules.pop(name) for name in names}
    known = set(sys.modules)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        for name in set(sys.modules) - known:
            if _within(folder, getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
        sys.modules.update(before)


def _within(folder: Path, file: str | None) -> bool:
    return file is not None and users(file) and Path(file).is_relative_to(folder)

"""A user's own Python file as a module."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from betaplane.errors import BadInput
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
    """The file, run as a module under a name of its own, by which pickle finds it and no other module is replaced.

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

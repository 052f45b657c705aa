"""Import a user's own Python file as a module."""

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
from betaplane.problems.check import error_line
from betaplane.problems.user_code import is_user_code


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Put the folder at the front of sys.path inside the block."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def import_file(path: Path) -> ModuleType:
    """Run the file as a module with a unique name, under which pickle finds it.

    Args:
        path: absolute path of a file that exists.

    Raises:
        BadInput: it is not a Python file, or raises an error.
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
        what = "The file raises an error when it is imported"
        raise BadInput(what, where=error_line(error)) from error
    return module


@contextmanager
def fresh_imports(folder: Path) -> Iterator[None]:
    """Inside the block, the user's files in this folder are imported as if for the first time, and
    print nothing.
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
    return file is not None and is_user_code(file) and Path(file).is_relative_to(folder)

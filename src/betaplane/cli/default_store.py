"""The store that a problem gets if none is named."""

from __future__ import annotations

from pathlib import Path

from betaplane.cli.files import file_name
from betaplane.maps.resources import identity_of
from betaplane.maps.store.store import Store
from betaplane.problems import Problem, Trainer


def default_store(problem: Problem | Trainer, folder: Path) -> Path:
    """The file in a folder that has the name of a problem.

    Problems may share a name, as two commands with one script do. If the file is the store of
    another problem, the name of this problem's file ends with 8 digits of its fingerprint.
    """
    name = file_name(problem.name)
    path = folder / f"{name}.sqlite"
    if not path.exists():
        return path
    identity = identity_of(problem)
    if not Store.is_of_another_problem(path, identity):
        return path
    return folder / f"{name}-{identity.fingerprint[:8]}.sqlite"

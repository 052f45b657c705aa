"""What `from_trainer` and `from_lightning` share: missing packages, names, models that are not new."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from betaplane.errors import BadInput


def check_installed(package: str, extra: str) -> None:
    """Raise BadInput, with the command to run, if a package is missing."""
    if find_spec(package) is None:
        raise BadInput(
            f"{package} is not installed",
            where=f"extra {extra!r}",
            instead=f"pip install 'betaplane[{extra}]'",
        )


def name_of(function: Callable, otherwise: str) -> str:
    """The function's name, or another one for a lambda."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else otherwise


class FreshModels:
    """Checks that each run starts from a new model: a model of an earlier run is trained already."""

    def __init__(self) -> None:
        self.last: weakref.ref | None = None

    def __getstate__(self) -> dict:
        return {"last": None}  # a reference is not pickled

    def check(self, model: Any, steps: int, where: str) -> None:
        """Raise BadInput if this is the last run's model, or it has made steps."""
        if steps or (self.last is not None and self.last() is model):
            raise BadInput(
                "make(settings, seed) returns a model that was already trained",
                value=type(model).__name__,
                allowed="a new model for each call",
                where=where,
                instead="create the model inside of make",
            )
        self.last = weakref.ref(model)

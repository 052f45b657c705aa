"""Trainings in the loop of a library (Hugging Face, Lightning): what they have in common."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import update_wrapper
from importlib.util import find_spec
from typing import Any

from betaplane.errors import BadInput, expect_function, not_installed
from betaplane.problems.loss_list import LossList
from betaplane.problems.reports import Report

Make = Callable[[dict[str, float], int], Any]


class LibraryTraining:
    """train(settings, seed) with the trainer or module that a function returns.

    Args:
        make: make(settings, seed).
    """

    def __init__(self, make: Make) -> None:
        self.make = make
        self.fresh = FreshModels()
        update_wrapper(self, make)

    def __call__(self, settings: dict[str, float], seed: int) -> list[float]:
        """The losses of a whole run."""
        losses = LossList()
        self.run(settings, seed, losses)
        return losses

    def run(self, settings: dict[str, float], seed: int, report: Report) -> None:
        """Train, until the end or until the verdict is certain."""
        raise NotImplementedError


def check_make(make: Make, example: str, where: str, package: str, extra: str) -> None:
    """Raise BadInput if `make` is not a function (settings, seed), or the package is missing."""
    expect_function(make, "make", example, where, takes=2)
    if find_spec(package) is None:
        raise not_installed(package, extra, where)


def name_of(function: Callable, otherwise: str) -> str:
    """The function's name, or another one for a lambda."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else otherwise


class FreshModels:
    """Check that each run starts from a new model: that of an earlier run is already trained."""

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

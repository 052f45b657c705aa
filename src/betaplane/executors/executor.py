"""The interface of what executes runs, and the errors of lost workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self

from betaplane.errors import BadInput
from betaplane.text import plural

MAX_LOSSES = 3  # of the worker of one call, after which it is not repeated


class WorkerLost(Exception):
    """A worker or its node ended before it returned a result; the call can be repeated."""


class Executor(ABC):
    """Calls functions of one problem, in this process or in workers.

    A call is `function(problem, *arguments)`. Its future has the result, a BadInput (the function
    raised an error), or a WorkerLost (compute it again).

    Attributes:
        name: where it executes, for people ("2 worker processes").
        sees_files: whether workers are processes of this machine, which may open its files.
    """

    name: str
    sees_files = True

    @property
    @abstractmethod
    def slots(self) -> int:
        """Calls that are executed at once, now: a cluster may grow or shrink."""

    @property
    def ahead(self) -> int:
        """Calls to submit before the first of them has ended, so that no worker waits."""
        return 2 * self.slots

    @abstractmethod
    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call function(problem, *arguments) in a worker."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, with the calls under way."""

    def call(self, function: Callable, *arguments: Any) -> Any:
        """The result of one call, which is repeated if its worker is lost.

        Raises:
            BadInput: the function raised an error, or lost its worker too often.
        """
        for losses in range(1, MAX_LOSSES + 1):
            try:
                return self.submit(function, *arguments).result()
            except WorkerLost as error:
                check_losses(losses, error)
        raise AssertionError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_losses(losses: int, last: WorkerLost, most: int = MAX_LOSSES) -> None:
    """Raise BadInput if a call has lost its worker too often.

    Args:
        losses: how often.
        last: the last time.
        most: how often is too often.
    """
    if losses >= most:
        raise BadInput(
            f"A worker process died in training, {plural(losses, 'time')} at the same runs (crash in "
            "native code, out of memory, or exit)",
            value=str(last),
            allowed="workers that finish",
            instead="workers=1  # needs the least memory",
        ) from last

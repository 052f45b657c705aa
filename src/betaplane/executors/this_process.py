"""The executor that calls functions in this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from betaplane.errors import BadInput
from betaplane.executors.call import call, worker_settings
from betaplane.executors.executor import Executor
from betaplane.problems import Problem, Trainer


class ThisProcess(Executor):
    """Calls a function when it is submitted.

    Args:
        problem: the first argument of every function.
    """

    name = "this process"

    @property
    def slots(self) -> int:
        """One: a call ends before the next is submitted."""
        return 1

    @property
    def ahead(self) -> int:
        """One, since nothing waits."""
        return 1

    def __init__(self, problem: Problem | Trainer) -> None:
        self._problem = problem

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call function(problem, *arguments) now."""
        future: Future = Future()
        try:
            with worker_settings():
                future.set_result(call(function, self._problem, arguments))
        except BadInput as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is left to end."""

"""What the executors of clusters share: calls as bytes, futures of tasks, the size of the cluster."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from betaplane.executors.executor import Executor
from betaplane.executors.remote import settle
from betaplane.executors.shipment import Manifest, dump

SIZE_SECONDS = 5.0  # between two queries for the size of the cluster


class ClusterExecutor(Executor):
    """Calls functions in tasks of an engine.

    Args:
        manifest: describes the problem to workers.
    """

    sees_files = False

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._tasks: dict[Future, Any] = {}  # of calls under way
        self._size, self._measured = 1, -float("inf")

    @property
    def slots(self) -> int:
        """Calls that fit into the cluster now."""
        if time.monotonic() - self._measured > SIZE_SECONDS:
            self._size, self._measured = max(1, self._measure()), time.monotonic()
        return self._size

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call function(problem, *arguments) in a task."""
        future: Future = Future()
        future.set_running_or_notify_cancel()
        task = self._tasks[future] = self._send(dump((function, arguments)))
        self._when_done(task, lambda done: self._end(future, done))
        return future

    def _end(self, future: Future, done: Any) -> None:
        self._tasks.pop(future, None)
        settle(future, done.result, self._explained)

    def _taken(self) -> list[Any]:
        """The tasks under way, which are then forgotten."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        return tasks

    @abstractmethod
    def _measure(self) -> int:
        """Calls that fit into the cluster."""

    @abstractmethod
    def _send(self, call: bytes) -> Any:
        """The task of a pickled call."""

    @abstractmethod
    def _when_done(self, task: Any, then: Callable[[Any], None]) -> None:
        """Call `then` with a future of what `remote.run` returned."""

    @abstractmethod
    def _explained(self, error: BaseException) -> Exception:
        """A WorkerLost or BadInput for an error of the engine."""

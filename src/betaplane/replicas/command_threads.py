"""Run commands from threads of this process: a command is a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

MAX_COMMANDS = 1024  # at once: they may use several GPUs
POLL_SECONDS = 0.1


class CommandThreads:
    """Threads that each run one command at a time.

    Args:
        workers: the largest number of commands at once, >= 1.
        end_all: ends every command that runs.
    """

    def __init__(self, workers: int, end_all: Callable[[], None]) -> None:
        self._threads = ThreadPoolExecutor(workers, "betaplane-command")
        self._end_all = end_all
        self._futures: set[Future] = set()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Call a function in a thread."""
        future = self._threads.submit(function, *arguments)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def close(self) -> None:
        """End the commands that run, and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._futures:  # a command may start after the first call
            self._end_all()
            wait(tuple(self._futures), timeout=POLL_SECONDS)

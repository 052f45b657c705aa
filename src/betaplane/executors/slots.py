"""Slots of this machine: each executes one call at a time, from a thread that follows it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

S = TypeVar("S")
POLL_SECONDS = 0.1


class Slots(Generic[S]):
    """A thread per slot; a call takes the first slot that is free.

    Args:
        slots: what the slots are, such as worker processes.
        call: called as call(slot, *arguments) for each submitted call.
    """

    def __init__(self, slots: Sequence[S], call: Callable[..., Any]) -> None:
        self._threads = ThreadPoolExecutor(len(slots), "betaplane-slot")
        self._call = call
        self._futures: set[Future] = set()
        # the slot that was used last comes first: its worker has started
        self._free: queue.LifoQueue[S] = queue.LifoQueue()
        for slot in reversed(slots):
            self._free.put(slot)

    def submit(self, *arguments: Any) -> Future:
        """Make a call in a free slot, or in the first one that becomes free."""
        future = self._threads.submit(self._in_slot, arguments)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _in_slot(self, arguments: tuple) -> Any:
        slot = self._free.get()
        try:
            return self._call(slot, *arguments)
        finally:
            self._free.put(slot)

    def close(self, end_all: Callable[[], object]) -> None:
        """Drop the calls that wait, and end those that run.

        Args:
            end_all: ends every call that runs, with an exception in its thread.
        """
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._futures:  # a call may start after the first `end_all`
            end_all()
            wait(tuple(self._futures), timeout=POLL_SECONDS)

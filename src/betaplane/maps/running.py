"""The chunks that workers train now, in the order in which they end."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")


class Running(Generic[Chunk]):
    """Futures under way, each with its chunk.

    A future reports its own end. Waiting for the next one takes the same time for ten thousand as
    for two, which `concurrent.futures.wait` does not.
    """

    def __init__(self) -> None:
        self._chunks: dict[Future, Chunk] = {}
        self._ended: SimpleQueue[Future] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, future: Future, chunk: Chunk) -> None:
        """Watch a future."""
        self._chunks[future] = chunk
        future.add_done_callback(self._ended.put)

    def cancel_waiting(self) -> None:
        """Cancel and forget what no worker has begun."""
        for future in [future for future in self._chunks if future.cancel()]:
            del self._chunks[future]

    def take_ended(self, timeout: float) -> list[tuple[Future, Chunk]]:
        """The futures that have ended, with their chunks; they are not watched any more.

        Args:
            timeout: seconds to wait for the first of them.
        """
        ended = self._next(timeout)
        return [(future, self._chunks.pop(future)) for future in ended if future in self._chunks]

    def _next(self, timeout: float) -> list[Future]:
        ended = []
        with suppress(Empty):
            ended.append(self._ended.get(block=timeout > 0, timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        return ended

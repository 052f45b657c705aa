"""Simulated workers: calls end in simulated time, and some are lost and repeated."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from betaplane.maps.running import Running


@dataclass
class Clock:
    """Simulated time, which also passes while the driver really works."""

    now: float = 0.0
    driver: float = 0.0  # seconds of the driver's work
    _since: float = field(default_factory=time.process_time)

    def stop(self) -> None:
        """The driver hands over to the simulation: its work so far becomes simulated time."""
        worked = time.process_time() - self._since
        self.driver += worked
        self.now += worked

    def resume(self) -> None:
        """The driver works again."""
        self._since = time.process_time()

    def __call__(self) -> float:
        """The time now, with the driver's work under way."""
        return self.now + time.process_time() - self._since


class Workers:
    """Workers that take calls in order, each for the seconds that `draw` returns.

    Args:
        count: number of workers.
        clock: the simulated time.
        draw: returns the seconds of a call's run, and of runs that were lost before it.
    """

    def __init__(self, count: int, clock: Clock, draw: Callable[[], tuple[float, float]]) -> None:
        self.count = count
        self.clock = clock
        self.draw = draw
        self.free = count
        self.waiting: deque[tuple[Future, object]] = deque()
        self.ends: list[tuple[float, int, Future, object]] = []
        self.runs: list[tuple[float, float, float]] = []  # start, seconds lost, seconds of the run

    def submit(self, result: object) -> Future:
        """A call whose result is known in advance."""
        self.clock.stop()
        self._finish(self.clock.now)
        future: Future = Future()
        if self.free:
            self.free -= 1
            self._start(self.clock.now, future, result)
        else:
            self.waiting.append((future, result))
        self.clock.resume()
        return future

    def wait(self) -> None:
        """Let the time pass until a call ends."""
        self.clock.stop()
        if self.ends:
            self.clock.now = max(self.clock.now, self.ends[0][0])
        self._finish(self.clock.now)
        self.clock.resume()

    def efficiency(self, until: float) -> float:
        """Time of finished runs by then, as a share of the time of all workers."""
        starts, lost, useful = np.array(self.runs).T
        done = np.clip(until - starts - lost, 0.0, useful)
        return float(done.sum() / (self.count * until))

    def _start(self, now: float, future: Future, result: object) -> None:
        useful, lost = self.draw()
        self.runs.append((now, lost, useful))
        heapq.heappush(self.ends, (now + lost + useful, len(self.runs), future, result))

    def _finish(self, now: float) -> None:
        """End the calls that are finished by now; their workers take the next ones at once."""
        while self.ends and self.ends[0][0] <= now:
            end, _, future, result = heapq.heappop(self.ends)
            if self.waiting:
                self._start(end, *self.waiting.popleft())
            else:
                self.free += 1
            future.set_result(result)


def running_on(workers: Workers) -> type[Running]:
    """What the scheduler waits with: time passes if nothing has ended."""

    class SimulatedRunning(Running):
        def take_ended(self, timeout: float) -> list:
            workers.wait()
            return super().take_ended(0.0)

    return SimulatedRunning

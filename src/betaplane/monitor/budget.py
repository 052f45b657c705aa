"""Time that watching may take: it measures itself, and stops where its share is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

SMOOTH = 0.2  # weight of the newest cost in the running mean


class Budget:
    """A share of the run's time, spent on one kind of job, whose cost is learnt as it runs.

    Args:
        share: of all time since the start, > 0; inf for no limit.

    Example:
        >>> budget = Budget(share=0.02)
        >>> budget.allows(times=64)
        True
        >>> with budget.spending():
        ...     _ = sum(range(1000))
        >>> budget.spent > 0, Budget(share=float("inf")).allows()
        (True, True)
    """

    def __init__(self, share: float) -> None:
        self.share, self.start, self.spent = share, perf_counter(), 0.0
        self.cost: float | None = None  # seconds that the next job will take

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.start

    def allows(self, times: int = 1) -> bool:
        """Whether so many jobs fit; before the first they do, for the cost is not known."""
        if math.isinf(self.share) or self.cost is None:
            return True
        return self.spent + times * self.cost <= self.share * self.elapsed

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time that a job takes; the first one warms up, and its cost is expected to fall to a quarter."""
        begin = perf_counter()
        yield
        took = perf_counter() - begin
        self.spent += took
        self.cost = took / 4 if self.cost is None else self.cost + SMOOTH * (took - self.cost)

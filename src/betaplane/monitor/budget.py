"""Time that watching may take: it measures itself, and stops where its share is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

SMOOTH = 0.2  # weight of the newest cost in the running mean


class Budget:
    """A share of the run's time, spent on jobs whose cost is learnt as they run.

    Args:
        share: of all time since the start, in (0, 1]; inf for no limit.

    Example:
        >>> budget = Budget(share=0.02)
        >>> budget.allows("reading")
        True
        >>> with budget.spending("reading"):
        ...     _ = sum(range(1000))
        >>> budget.spent > 0, Budget(share=float("inf")).allows("reading")
        (True, True)
    """

    def __init__(self, share: float) -> None:
        self.share, self.start, self.spent = share, perf_counter(), 0.0
        self.costs: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.start

    def allows(self, job: str) -> bool:
        """Whether a job fits; its first run always does, for its cost is not known."""
        if math.isinf(self.share) or job not in self.costs:
            return True
        return self.spent + self.costs[job] <= self.share * self.elapsed

    @contextmanager
    def spending(self, job: str) -> Iterator[None]:
        """Count the time that a job takes; a first run, which warms up, counts as a quarter in its expected cost."""
        begin = perf_counter()
        yield
        took = perf_counter() - begin
        self.spent += took
        old = self.costs.get(job)
        self.costs[job] = took / 4 if old is None else old + SMOOTH * (took - old)

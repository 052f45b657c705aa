"""Time that watching may take: it measures itself, and stops where its share is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

SMOOTH = 0.2  # weight of the newest cost in the running mean
CREDIT = 0.5  # seconds that may be saved up: a long pause is no reason for a slow hour


class Budget:
    """A share of the run's time, spent on one kind of job, whose cost is learnt as it runs.

    Args:
        share: of all time since the first question, > 0; inf for no limit.

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
        self.share, self.spent, self.start = share, 0.0, math.nan
        self.room = 0.0  # seconds that may be spent, and are not yet
        self.at = math.nan
        self.cost: float | None = None  # seconds that the next job will take

    @property
    def elapsed(self) -> float:
        """Seconds since the first question."""
        return 0.0 if math.isnan(self.start) else perf_counter() - self.start

    def allows(self, times: int = 1) -> bool:
        """Whether so many jobs fit; before the first they do, for the cost is not known."""
        if math.isnan(self.start):
            self.start = self.at = perf_counter()
        if math.isinf(self.share) or self.cost is None:
            return True
        now = perf_counter()
        self.room = min(self.room + self.share * (now - self.at), max(CREDIT, times * self.cost))
        self.at = now
        return times * self.cost <= self.room

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time that a job takes; the first one warms up, and its cost is expected to fall to a quarter."""
        begin = perf_counter()
        yield
        self.took(perf_counter() - begin)

    def took(self, seconds: float) -> None:
        """Count the time that a job took."""
        self.charge(seconds)
        self.cost = seconds / 4 if self.cost is None else self.cost + SMOOTH * (seconds - self.cost)

    def charge(self, seconds: float) -> None:
        """Count time that was spent on no job in particular."""
        self.spent += seconds
        self.room -= seconds

"""Time that watching may take: it measures itself, and stops where its share is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

SMOOTH = 0.2  # weight of the newest cost in the running mean
CREDIT = 0.5  # seconds that may be saved up: a long pause is no reason for a slow hour


class Clock:
    """Seconds since the first question."""

    def __init__(self) -> None:
        self.start = math.nan

    @property
    def seconds(self) -> float:
        """What has passed."""
        if math.isnan(self.start):
            self.start = perf_counter()
        return perf_counter() - self.start


class Steps(Clock):
    """The time that steps take: of a pause, an evaluation or another run in between, two usual
    steps count.

    Example:
        >>> steps = Steps()
        >>> for now in (0.0, 1.0, 2.0, 100.0, 101.0):
        ...     steps.tick(now)
        >>> steps.seconds
        5.0
    """

    def __init__(self) -> None:
        self.counted, self.last, self.usual = 0.0, math.nan, math.inf

    def tick(self, now: float) -> None:
        """Count a step, taken at `now` seconds."""
        gap = min(now - self.last, 2 * self.usual)
        if gap >= 0:  # not at the first, when there is no last
            self.counted += gap
            self.usual = gap if math.isinf(self.usual) else self.usual + SMOOTH * (gap - self.usual)
        self.last = now

    @property
    def seconds(self) -> float:
        """What has been counted."""
        return self.counted


class Budget:
    """A share of the run's time, spent on one kind of job, whose cost is learnt as it runs.

    Args:
        share: of all time, > 0; inf for no limit.
        clock: which time; since the first question where None.

    Example:
        >>> budget = Budget(share=0.02)
        >>> budget.allows(times=64)
        True
        >>> with budget.spending():
        ...     _ = sum(range(1000))
        >>> budget.spent > 0, Budget(share=float("inf")).allows()
        (True, True)
    """

    def __init__(self, share: float, clock: Clock | None = None) -> None:
        self.share, self.clock = share, clock or Clock()
        # seconds: spent; that may be spent, and are not yet; when that was so
        self.spent = self.room = self.at = 0.0
        self.cost: float | None = None  # seconds that the next job will take

    @property
    def elapsed(self) -> float:
        """Seconds of the clock."""
        return self.clock.seconds

    def allows(self, times: int = 1) -> bool:
        """Whether so many jobs fit; before the first they do, for the cost is not known."""
        now = self.clock.seconds
        if math.isinf(self.share) or self.cost is None:
            return True
        self.room = min(self.room + self.share * (now - self.at), max(CREDIT, times * self.cost))
        self.at = now
        return times * self.cost <= self.room

    def lends(self, times: int) -> bool:
        """Whether a job fits on credit: no more than so many jobs are owed after it."""
        return self.allows() or self.cost is None or self.room + times * self.cost >= self.cost

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time that a job takes; the first one warms up, and a quarter of it is taken for
        its cost.
        """
        begin = perf_counter()
        yield
        self.took(perf_counter() - begin)

    def took(self, seconds: float, charged: float = 0.0) -> None:
        """Count the time that a job took, and what was charged of it before."""
        self.charge(seconds)
        seconds += charged
        if self.cost is None:
            self.cost = seconds / 4
            # what is paid once need not be earned back before the next
            self.room += seconds - self.cost
        else:
            self.cost += SMOOTH * (seconds - self.cost)

    def charge(self, seconds: float) -> None:
        """Count time that was spent on no job in particular."""
        self.spent += seconds
        self.room -= seconds

"""Time budget of the monitor: it measures its own cost, and stops when its share is used up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

SMOOTHING = 0.2  # weight of the newest value in a running mean
MAX_SAVED_SECONDS = 0.5  # so that a long pause does not allow a burst of expensive work


class Clock:
    """Seconds since the first query.

    Args:
        now: the time in seconds. `thread_time` counts this thread's work only, so that other
            programs do not make a job look expensive; it does not see a device at work.
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.now = now
        self.start = math.nan

    @property
    def seconds(self) -> float:
        """The elapsed time."""
        if math.isnan(self.start):
            self.start = self.now()
        return self.now() - self.start


class StepClock(Clock):
    """The time of the steps; a pause, such as an evaluation, counts as at most two typical steps.

    Example:
        >>> clock = StepClock()
        >>> for seconds in (0.0, 1.0, 2.0, 100.0, 101.0):
        ...     clock.tick(seconds)
        >>> clock.seconds
        5.0
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        super().__init__(now)
        self.counted = 0.0
        self.steps = 0
        self.last = math.nan
        self.typical = math.inf  # seconds per step

    def tick(self, seconds: float) -> None:
        """Count a step that ended at a time."""
        self.steps += 1
        gap = min(seconds - self.last, 2 * self.typical)
        if gap >= 0:  # false at the first step, which has no predecessor
            self.counted += gap
            if math.isinf(self.typical):
                self.typical = gap
            else:
                self.typical += SMOOTHING * (gap - self.typical)
        self.last = seconds

    @property
    def seconds(self) -> float:
        """The counted time."""
        return self.counted


class Budget:
    """A share of the run's time for one kind of job; the cost of a job is measured.

    Args:
        share: of the clock's time, > 0; inf for no limit.
        clock: measures the run's time; by default, the time since the first query.
        extra: seconds by which each step counts as longer than it is; only with a StepClock.

    Example:
        >>> budget = Budget(share=0.02)
        >>> budget.allows(times=64)
        True
        >>> with budget.spending():
        ...     _ = sum(range(1000))
        >>> budget.spent > 0, Budget(share=float("inf")).allows()
        (True, True)
    """

    def __init__(self, share: float, clock: Clock | None = None, extra: float = 0.0) -> None:
        self.share = share
        self.clock = clock or Clock()
        self.extra = extra
        self.steps_paid = 0
        self.spent = 0.0  # seconds
        self.available = 0.0  # seconds earned and not yet spent; negative for a debt
        self.updated_at = 0.0  # time of the last update, seconds
        self.cost: float | None = None  # expected seconds of the next job

    def allows(self, times: int = 1) -> bool:
        """Whether that many jobs fit; always true before the first, whose cost is unknown."""
        seconds = self.clock.seconds
        if math.isinf(self.share) or self.cost is None:
            return True
        earned = self.share * (seconds - self.updated_at)
        if isinstance(self.clock, StepClock):
            earned += self.share * self.extra * (self.clock.steps - self.steps_paid)
            self.steps_paid = self.clock.steps
        limit = max(MAX_SAVED_SECONDS, times * self.cost)
        self.available = min(self.available + earned, limit)
        self.updated_at = seconds
        return times * self.cost <= self.available

    def lends(self, times: int) -> bool:
        """Whether a job fits if the budget may go into debt by that many jobs."""
        if self.allows() or self.cost is None:
            return True
        return self.available + times * self.cost >= self.cost

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Measure a job, and count its time."""
        begin = self.clock.now()
        yield
        self.finish_job(self.clock.now() - begin)

    def finish_job(self, seconds: float, charged: float = 0.0) -> None:
        """Count the time of a job, and of the part of it that was charged before.

        The first job warms up, so a quarter of its time is the expected cost of the next.
        """
        self.charge(seconds)
        seconds += charged
        if self.cost is None:
            self.cost = seconds / 4
            # the one-time cost need not be earned before the next job
            self.available += seconds - self.cost
        else:
            self.cost += SMOOTHING * (seconds - self.cost)

    def charge(self, seconds: float) -> None:
        """Count time that belongs to no particular job."""
        self.spent += seconds
        self.available -= seconds


class Budgets:
    """The budgets of a watcher: gradient norms, readings, step statistics, and recordings.

    The rest of the share is for work that cannot be measured from inside. For gradient norms
    and readings each step counts as longer than it is, so that steps of a millisecond are watched
    too; with a budget of 0.02 they may add another 2% to such a step.

    Args:
        share: of the run's time, > 0; inf for no limit.
        now: the time in seconds, see `Clock`.
    """

    GRADIENT_SHARE = 0.3
    READING_SHARE = 0.3
    STATS_SHARE = 0.05
    RECORDING_SHARE = 0.1
    EXTRA_SECONDS = 1.7e-3  # by which each step counts as longer, for norms and readings

    def __init__(self, share: float, now: Callable[[], float] = perf_counter) -> None:
        self.clock = StepClock(now)
        self.gradients = Budget(self.GRADIENT_SHARE * share, self.clock, self.EXTRA_SECONDS)
        self.reading = Budget(self.READING_SHARE * share, self.clock, self.EXTRA_SECONDS)
        self.stats = Budget(self.STATS_SHARE * share, self.clock)
        self.recording = Budget(self.RECORDING_SHARE * share, self.clock)
        self.loss_seconds = 0.0  # spent on judging losses, which no budget limits

    @property
    def spent(self) -> float:
        """Seconds spent in total."""
        budgets = (self.gradients, self.reading, self.stats, self.recording)
        return self.loss_seconds + sum(budget.spent for budget in budgets)

    @contextmanager
    def charging_rest(self) -> Iterator[None]:
        """Charge the time of a block, except what a budget counts inside it, to recording."""
        begin, spent = self.clock.now(), self.spent
        yield
        self.recording.charge(self.clock.now() - begin - (self.spent - spent))

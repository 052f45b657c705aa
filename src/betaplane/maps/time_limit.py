"""The time limit of a plan: when to stop submitting runs, and how long to wait for the others."""

from __future__ import annotations

from collections.abc import Callable

# Multiple of the plan's time after which unfinished runs are abandoned. Stacks save their state
# before that.
ABANDON_FACTOR = 1.05


class TimeLimit:
    """Seconds for runs, from a start.

    Args:
        seconds: the limit. None: there is none.
        began: the time at its start.
        clock: returns the time.
    """

    def __init__(self, seconds: float | None, began: float, clock: Callable[[], float]) -> None:
        self.seconds, self.began, self.clock = seconds, began, clock

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.began

    @property
    def is_over(self) -> bool:
        """Whether no more runs are started."""
        return self.seconds is not None and self.spent > self.seconds

    def wait_seconds(self, most: float) -> float:
        """Seconds to wait for a run: the rest of the time and a little more, and at most `most`."""
        if self.seconds is None:
            return most
        return max(0.0, min(most, ABANDON_FACTOR * self.seconds - self.spent))

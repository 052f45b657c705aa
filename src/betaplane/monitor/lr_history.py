"""LrHistory: the learning rates of a run so far."""

from __future__ import annotations

import math
from collections import deque

CHANGE = 1.1  # factor by which lr changes before it is stored again
CHANGES_REMEMBERED = 1024


class LrHistory:
    """The largest learning rate of all groups at the steps that were measured.

    Example:
        >>> lrs = LrHistory()
        >>> for step, lr in enumerate((0.1, 0.2, 0.2, 0.01), start=1):
        ...     lrs.add(step, lr)
        >>> lrs.peak, lrs.last, lrs.at(3), lrs.last_step_above(0.1), lrs.was_raised(3)
        (0.2, 0.01, 0.2, 3, False)
    """

    def __init__(self) -> None:
        self.changes: deque[tuple[int, float]] = deque(maxlen=CHANGES_REMEMBERED)
        self.last = math.nan  # nan before the first
        self.last_step = 0
        self.peak = 0.0

    def add(self, step: int, lr: float) -> None:
        """Add the lr of a step; one that is not known, nan, is ignored."""
        if math.isnan(lr):
            return
        stored = self.changes[-1][1] if self.changes else math.nan
        if not stored / CHANGE <= lr <= stored * CHANGE:
            self.changes.append((step, lr))
        self.last, self.last_step = lr, step
        self.peak = max(self.peak, lr)

    def at(self, step: int) -> float:
        """The lr of a step, within 10%; nan if it is not known."""
        return next((lr for first, lr in reversed(self.changes) if first <= step), math.nan)

    def last_step_above(self, level: float) -> int:
        """The last step with a larger lr, as far as is known; 0 if there is none."""
        end = self.last_step + 1
        for first, lr in reversed(self.changes):
            if lr > level:
                return end - 1
            end = first
        return 0

    def was_raised(self, since: int) -> bool:
        """Whether lr more than doubled between two steps after a step; 0 is not a learning rate."""
        least = math.inf
        for lr in (self.at(since), *(lr for step, lr in self.changes if step > since)):
            if lr > 2 * least:
                return True
            if lr > 0:
                least = min(least, lr)
        return False

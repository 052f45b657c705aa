"""LossHistory: the last losses of a run, their level and their trend."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import median
from typing import NamedTuple, overload

LOSSES_REMEMBERED = 64
FIRST_LOSSES = 16  # of a run, which are stored until its end
RECENT_LOSSES = 16  # those that a trend compares with earlier ones
WINDOW = 5  # losses whose median or mean stands for one
OUTLIER_DISTANCES = 6.0  # mean distances: 4.8 standard deviations of a normal loss
NORMAL_MEDIAN_DISTANCE = 0.954  # the median |a - b| of two standard normal numbers
SCATTER_DEVIATIONS = 2.5  # of the scatter, that a mean of losses may be above the start by chance
MAX_SCATTER = 10.0  # limits the exponent
START_SCATTER = 0.1  # of the level before training: losses that scatter more are averaged

Loss = tuple[int, float]  # a step, and its loss


class Shift(NamedTuple):
    """A lasting change of the level of a series."""

    step: int  # the first at the new level
    before: float  # median
    after: float  # median
    deviations: float  # from before to after, in standard deviations of the scatter
    is_sudden: bool  # whether most of it came from one value to the next


@dataclass
class Rise:
    """A rise of the level of the losses that has not ended; times are numbers of losses."""

    shift: Shift | None = None
    found_at: int = 0
    checked_at: int = 0


class TypicalRange:
    """Running estimate of the usual losses: their mean, and their mean distance from it.

    Example:
        >>> typical = TypicalRange()
        >>> [step for step in range(40) if typical.is_outlier(1.0 + 0.1 * (step % 3) + 2.0 * (step == 30))]
        [30]
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self.mean_distance = 0.0
        self.count = 0

    def is_outlier(self, loss: float) -> bool:
        """Add a loss; return whether it is far above earlier ones, or the first non-finite one."""
        if not math.isfinite(loss):
            first = math.isfinite(self.mean)
            self.mean = math.nan
            return first
        difference = loss - self.mean
        self.count += 1
        if self.count == 1 or math.isnan(difference):
            self.mean = loss
            return False
        enough = self.count > RECENT_LOSSES
        outlier = enough and difference > OUTLIER_DISTANCES * self.mean_distance
        weight = max(1 / self.count, 1 / RECENT_LOSSES)
        self.mean += weight * difference
        self.mean_distance += weight * (abs(difference) - self.mean_distance)
        return outlier


class LossHistory(Sequence[Loss]):
    """The last (step, loss) pairs, oldest first, with statistics; nan if there are too few."""

    def __init__(self) -> None:
        self._losses: deque[Loss] = deque(maxlen=LOSSES_REMEMBERED)
        self.first = math.nan  # the first loss
        self.min_median = math.inf  # the smallest median of five losses so far
        self.best_step = 0  # at which it was reached
        self.rise = Rise()
        self.lowest = math.inf  # the smallest loss so far
        self.starting: list[float] = []  # the first 16 losses
        self.total = 0  # losses so far
        self.nonfinite = 0  # of them NaN or infinite
        self.typical = TypicalRange()

    def __len__(self) -> int:
        return len(self._losses)

    @overload
    def __getitem__(self, i: int) -> Loss: ...
    @overload
    def __getitem__(self, i: slice) -> list[Loss]: ...
    def __getitem__(self, i: int | slice) -> Loss | list[Loss]:
        return [*self._losses][i] if isinstance(i, slice) else self._losses[i]

    def record(self, step: int, loss: float) -> bool:
        """Add a loss; return whether it is far above earlier ones, or the first non-finite one."""
        self._losses.append((step, loss))
        self.total += 1
        self.lowest = min(self.lowest, loss)
        self.nonfinite += not math.isfinite(loss)
        if len(self.starting) < FIRST_LOSSES:
            self.starting.append(loss)
        if math.isnan(self.first):
            self.first = loss
        newest = [value for _, value in islice(reversed(self._losses), WINDOW)]
        if len(newest) == WINDOW and all(map(math.isfinite, newest)):
            newest_median = sorted(newest)[WINDOW // 2]
            if newest_median < self.min_median:
                self.min_median, self.best_step = newest_median, step
        return self.typical.is_outlier(loss)

    @property
    def values(self) -> list[float]:
        """The losses without their steps."""
        return [loss for _, loss in self._losses]

    def has_risen(self, factor: float) -> bool:
        """Whether recent losses, by median or mean, exceed the start by a factor.

        If the start is negative, they exceed it by (factor - 1) times its absolute value.
        """
        recent = self.values[-RECENT_LOSSES:]
        level = self.recent_level
        if len(recent) == RECENT_LOSSES:
            level = max(level, _mean(recent))
        return level > self.start + (factor - 1) * abs(self.start)

    @property
    def start(self) -> float:
        """The level before training: the first loss, since later steps may already have broken the
        run; or the mean of as many as it takes if single losses scatter too much and it is higher.
        """
        scatter = self.scatter
        if not math.isfinite(scatter):
            return self.first
        losses = math.ceil((scatter / START_SCATTER) ** 2)
        return max(self.first, _mean(self.starting[: max(1, losses)]))

    @property
    def scatter(self) -> float:
        """Standard deviation of log loss between steps, without outliers; inf if unknown."""
        logs = [math.log(loss) for loss in self.values if 0 < loss < math.inf]
        if len(logs) < 2:
            return math.inf
        return scatter_from(abs(b - a) for a, b in pairwise(logs))

    @property
    def climb(self) -> float:
        """The largest mean of five losses over the start, minus 2.5 deviations of scatter."""
        start = self.start
        if not start > 0:
            return math.nan
        highest = max(map(_mean, _windows(self.values)), default=math.nan)
        by_chance = math.exp(SCATTER_DEVIATIONS * min(self.scatter, MAX_SCATTER))
        return highest / (start * by_chance)

    @property
    def recent_level(self) -> float:
        """The largest median of five among the last 16 losses; inf if they are not finite.

        Not only the last five: a run that broke between two readings may look calm at the second.
        """
        finite_or_inf = [loss if math.isfinite(loss) else math.inf for loss in self.values]
        return max(map(median, _windows(finite_or_inf[-RECENT_LOSSES:])), default=math.nan)

    @property
    def start_median(self) -> float:
        """The median of the first 16 losses of the run."""
        return median(self.starting) if self.starting else math.nan

    @property
    def recent_median(self) -> float:
        """The median of the last 16 losses."""
        return median(self.values[-RECENT_LOSSES:]) if self._losses else math.nan

    @property
    def earlier_median(self) -> float:
        """The median of the losses before the last 16; nan if there are fewer than 16 such."""
        earlier = self.values[:-RECENT_LOSSES]
        return median(earlier) if len(earlier) >= RECENT_LOSSES else math.nan

    @property
    def falling(self) -> bool:
        """Whether the last 16 losses are below the first 16 by more than noise explains."""
        oldest = median(self.values[:RECENT_LOSSES]) if self._losses else math.nan
        return self.recent_median < oldest * math.exp(-min(self.scatter, 1.0) / 2)


def scatter_from(distances: Iterable[float]) -> float:
    """Standard deviation of a series, from the distances of consecutive values; at least one."""
    return median(distances) / NORMAL_MEDIAN_DISTANCE


def _mean(values: Sequence[float]) -> float:
    """A mean that may be infinite or nan."""
    return sum(values) / len(values)


def _windows(values: list[float]) -> list[list[float]]:
    """Every five consecutive values."""
    return [values[i : i + WINDOW] for i in range(len(values) - WINDOW + 1)]

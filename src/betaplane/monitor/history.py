"""What detectors look back on: readings, losses, rows that were touched, replays."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from betaplane.monitor.counterfactual import roots, sizes_and_directions
from betaplane.monitor.quantities.formulas import TINY, cosine, spread
from betaplane.monitor.quantities.reading import Reading
from betaplane.monitor.quantities.reading_buffer import Readings
from betaplane.monitor.quantities.step_stats import StepStats
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

KEPT = 64  # readings and losses that are looked back on
LATE = 16  # losses that are of late
FAR = 6.0  # mean distances: 4.8 standard deviations of a normal loss
NORMAL = 0.954  # the median |a - b| of two standard normal numbers
FEW = 5  # losses whose median is a loss
PEAK = 0.9  # of the largest learning rate: as good as it
SMOOTH = 8  # readings whose median is taken
LEAST = 16  # values that say what a jump is
SCATTER = 0.4  # of the logarithms of fewer


class Rows:
    """When the rows of a matrix had a gradient, as far as it was looked at."""

    def __init__(self, touched: Tensor) -> None:
        self.first = self.last = touched.long() * 0
        self.count, self.looks = touched.long() * 0, 0

    def look(self, touched: Tensor) -> None:
        """Count one look at the rows."""
        self.looks += 1
        self.count = self.count + touched
        self.last = self.last.where(~touched, self.looks)


class TypicalRange:
    """What losses usually are, asked at every step: running means of them and of how far they are
    from it.

    Example:
        >>> usual = TypicalRange()
        >>> [step for step in range(40) if usual.outlies(1.0 + 0.1 * (step % 3) + 2.0 * (step == 30))]
        [30]
    """

    def __init__(self) -> None:
        self.level = self.apart = 0.0
        self.count = 0

    def outlies(self, loss: float) -> bool:
        """Take a loss; whether it is far above those before, or the first that is not finite."""
        if not math.isfinite(loss):
            first, self.level = math.isfinite(self.level), math.nan
            return first
        off, self.count = loss - self.level, self.count + 1
        if self.count == 1 or math.isnan(off):
            self.level = loss
            return False
        far = self.count > LATE and off > FAR * self.apart
        weight = max(1 / self.count, 1 / LATE)
        self.level += weight * off
        self.apart += weight * (abs(off) - self.apart)
        return far


class Swing(NamedTuple):
    """The ring's gradients of one step beside those of the step before."""

    step: int
    correlation: float  # in [-1, 1]
    norm: float  # gradient units


def _mean(values: list[float]) -> float:
    """A mean that may be infinite or nan."""
    return sum(values) / len(values)


class Jump(NamedTuple):
    """One value beside many before it."""

    times: float  # the largest of them
    deviations: float  # of their logarithms, from their mean


@dataclass
class History:
    """All that is known of a run."""

    step: int = 0  # steps watched
    readings: dict[str, Readings] = field(
        default_factory=lambda: defaultdict(lambda: Readings(KEPT))
    )
    # that of the largest weights at the largest lr
    peaks: dict[str, Reading] = field(default_factory=dict)
    calmest: dict[str, float] = field(default_factory=dict)  # the least gradient over weights
    rows: dict[str, Rows] = field(default_factory=dict)
    zero: set[str] = field(default_factory=set)  # tensors that were 0 before the first step
    rings: dict[str, Any] = field(default_factory=dict)  # Ring or Track
    losses: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    first_loss: float = math.nan
    least: float = math.inf  # the smallest median of five losses so far
    norms: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    swings: deque[Swing] = field(default_factory=lambda: deque(maxlen=KEPT))
    lights: deque[StepStats] = field(default_factory=lambda: deque(maxlen=KEPT))
    usual: TypicalRange = field(default_factory=TypicalRange)
    startled: bool = False  # by the last loss
    # steps read for that alone, no fair sample
    chosen: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    read: int = 0  # steps that were read

    def take(self, reading: Reading) -> None:
        """Take a reading; keep that of the largest weights at the largest lr, and the least
        gradient over weights.
        """
        layer = reading.layer
        self.readings[layer].append(reading)
        peak = self.peaks.get(layer)
        if (
            peak is None
            or reading.lr > peak.lr
            or (reading.lr >= PEAK * peak.lr and reading.weight_rms > peak.weight_rms)
        ):
            self.peaks[layer] = reading
        if len(self.readings[layer]) >= SMOOTH:
            self.calmest[layer] = min(self.calmest.get(layer, math.inf), self.relative(layer))

    def raised(self, last: int) -> bool:
        """Whether lr was raised to more than twice between any of the last readings on schedule, of
        any tensor.
        """
        return any(
            new > 2 * old
            for kept in self.readings.values()
            for old, new in pairwise(self._lately(kept, last).tolist())
        )

    def _lately(self, kept: Readings, last: int) -> np.ndarray:
        """The learning rates of the last readings on schedule and those between."""
        due = [i for i, step in enumerate(kept.column("step").tolist()) if step not in self.chosen]
        return kept.column("lr")[due[-last - 1] if len(due) > last else 0 :]

    def relative(self, layer: str) -> float:
        """A tensor's gradient over its weights, both RMS, the median of the last 8 readings; never
        0.
        """
        sizes, weights = (
            self.readings[layer].column(name)[-SMOOTH:] for name in ("g_rms", "weight_rms")
        )
        return max(median((sizes / np.maximum(weights, TINY)).tolist()), TINY)

    def shine(self, found: list[StepStats]) -> None:
        """Take the light quantities of some steps, and of their gradients how they turned."""
        self.lights += found
        self.swings += [Swing(light.step, light.correlation, light.norm) for light in found]

    def lose(self, loss: float, step: int | None = None) -> None:
        """Take the loss of a step; of the one to come, where none is named."""
        step = self.step + 1 if step is None else step
        self.losses.append((step, loss))
        # a loss that comes late names no step to read
        self.startled = self.usual.outlies(loss) and step >= self.step
        if math.isnan(self.first_loss):
            self.first_loss = loss
        last = [old for _, old in [*self.losses][-FEW:]]
        if len(last) == FEW and all(map(math.isfinite, last)):
            self.least = min(self.least, median(last))

    def risen(self, times: float) -> bool:
        """Whether the loss of late, its median or mean, is `times` the first, or as far above a
        negative one.
        """
        last = [loss for _, loss in self.losses][-LATE:]
        late = max(self.recent, _mean(last)) if len(last) == LATE else self.recent
        return late > self.start + (times - 1) * abs(self.start)

    def last(self) -> list[Reading]:
        """The readings of the last step that was read."""
        found = [kept[-1] for kept in self.readings.values() if kept]
        step = max((reading.step for reading in found), default=0)
        return [reading for reading in found if reading.step == step]

    def now(self) -> list[Reading]:
        """The readings of this step."""
        return [kept[-1] for kept in self.readings.values() if kept and kept[-1].step == self.step]

    @property
    def start(self) -> float:
        """The first loss, nan where none was given: the steps after it may already break things."""
        return self.first_loss

    @property
    def scatter(self) -> float:
        """The standard deviation of the kept losses' logarithms from one step to the next, without
        outliers.
        """
        logs = [math.log(loss) for _, loss in self.losses if 0 < loss < math.inf]
        return median(abs(b - a) for a, b in pairwise(logs)) / NORMAL if len(logs) > 1 else math.inf

    @property
    def climbed(self) -> float:
        """The largest mean of five kept losses over the first, less what 2.5 deviations of their
        scatter explain.
        """
        last = [loss for _, loss in self.losses]
        top = max((_mean(last[i : i + FEW]) for i in range(len(last) - FEW + 1)), default=math.nan)
        return (
            top / (self.start * math.exp(2.5 * min(self.scatter, 10.0)))
            if self.start > 0
            else math.nan
        )

    @property
    def recent(self) -> float:
        """The largest median of five losses among the last 16, nan where none were given; inf if
        they are not finite.

        Not the last five: a run that broke between two readings may look calm again at the second.
        """
        last = [loss if math.isfinite(loss) else math.inf for _, loss in self.losses][-LATE:]
        return max(
            (median(last[i : i + FEW]) for i in range(len(last) - FEW + 1)), default=math.nan
        )

    @property
    def before(self) -> float:
        """The median of the kept losses before the last 16, nan where there are fewer than 16 such."""
        old = [loss for _, loss in self.losses][:-LATE]
        return median(old) if len(old) >= LATE else math.nan

    @property
    def falling(self) -> bool:
        """Whether the last 16 losses are below the first 16 that are kept by more than noise makes
        medians differ.
        """
        first = median([loss for _, loss in [*self.losses][:LATE]]) if self.losses else math.nan
        return self.late < first * math.exp(-min(self.scatter, 1.0) / 2)

    @property
    def late(self) -> float:
        """The median of the last 16 losses, nan where none were given."""
        return median([loss for _, loss in self.losses][-LATE:]) if self.losses else math.nan

    def loudest(self) -> str:
        """The tensor whose gradients grew most over the kept steps, "" where none are kept."""
        grown = {}
        for layer, past in (
            (layer, ring.past()) for layer, ring in self.rings.items() if ring.last == self.step
        ):
            if past is not None and len(past.g) > 1:
                sizes = past.g.square().mean(1).nan_to_num()
                half = len(sizes) // 2
                grown[layer] = float(sizes[half:].max() / sizes[:half].mean().clamp_min(1e-30))
        return max(grown, key=grown.__getitem__, default="")

    def pasts(self) -> Iterator[tuple[str, RecordedSteps]]:
        """The kept steps of every tensor whose ring is full and ends now."""
        for layer, ring in self.rings.items():
            if ring.last == self.step and ring.full:
                past = ring.past()
                if past is not None and bool(past.g.isfinite().all()):
                    yield layer, past


def jump(series: Iterable[tuple[int, float]], step: int, least: int = LEAST) -> Jump:
    """How far a step's value is above those before it; (0, 0) where it is not the last, or too few
    came before.

    Values that are not finite, or not above 0, are left out.

    Args:
        series: steps and values, the newest last.
        step: the step.
        least: values before it, >= 2; fewer than 16 are taken to scatter by a factor of 1.5 at least.
    """
    *old, last = [*series] or [(0, 0.0)]
    past = [value for _, value in old if 0 < value < math.inf]
    if last[0] != step or len(past) < least or not 0 < last[1] < math.inf:
        return Jump(0.0, 0.0)
    return Jump(
        last[1] / max(past), deviations(last[1], past, TINY if len(past) >= LEAST else SCATTER)
    )


def deviations(value: float, others: Sequence[float], floor: float = TINY) -> float:
    """By how many standard deviations of others' logarithms a value's is above their mean; all
    above 0, two at least.

    Of less than `floor` a standard deviation counts as that.

    Example:
        >>> round(deviations(8.0, [1.0, 2.0, 4.0]), 6)
        2.0
    """
    logs = [math.log(other) for other in others]
    mean = sum(logs) / len(logs)
    square = sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)
    return (math.log(value) - mean) / max(math.sqrt(square), floor)


def unsteadiness(past: RecordedSteps) -> float:
    """The coefficient of variation of sqrt(v) over the kept steps of one tensor, the less of two
    halves.

    One batch unlike all others shows in one of them only.
    """
    return min(spread(half, past.numbers.beta2) for half in roots(past).chunk(2))


def descent(past: RecordedSteps) -> float:
    """The cosine of the mean update and the mean gradient over the kept steps; below 0 the run goes
    uphill.
    """
    _, updates = sizes_and_directions(past, past.numbers)
    return cosine(updates.mean(0), past.g.mean(0))

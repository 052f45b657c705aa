"""ReadingHistory: the last readings of every tensor, and what earlier ones leave behind."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import median

import numpy as np
from torch import Tensor

from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import Reading
from betaplane.monitor.quantities.reading_buffer import ReadingBuffer

READINGS_REMEMBERED = 64  # of each tensor
PEAK_LR_SHARE = 0.9  # learning rates from this share of the largest on count as the largest
SMOOTHED_READINGS = 8  # whose median is a tensor's gradient over weight


class TouchedRows:
    """When the rows of a matrix had a gradient, in units of readings.

    Args:
        touched: whether each row has a gradient, of the shape and device to expect.
    """

    def __init__(self, touched: Tensor) -> None:
        self.readings = 0
        self.count = touched.long() * 0  # readings with a gradient
        self.last = touched.long() * 0  # the last such reading, from 1

    def add(self, touched: Tensor) -> None:
        """Add one reading."""
        self.readings += 1
        self.count = self.count + touched
        self.last = self.last.where(~touched, self.readings)


class ReadingHistory(Mapping[str, ReadingBuffer]):
    """The last readings by layer, with the extremes of all readings."""

    def __init__(self) -> None:
        self._buffers: dict[str, ReadingBuffer] = defaultdict(
            lambda: ReadingBuffer(READINGS_REMEMBERED)
        )
        self.peaks: dict[str, Reading] = {}  # the reading of the largest weights at the largest lr
        self.min_gradient_over_weight: dict[str, float] = {}
        self.rows: dict[str, TouchedRows] = {}
        self.zero_at_start: set[str] = set()  # tensors that were 0 before the first step
        self.gradient_norms: deque[tuple[int, float]] = deque(maxlen=READINGS_REMEMBERED)
        # steps that were read because of their loss, and so are not a fair sample
        self.off_schedule: deque[int] = deque(maxlen=READINGS_REMEMBERED)
        self.steps_read = 0
        self.last_step = -1  # the last step that was read

    def __getitem__(self, layer: str) -> ReadingBuffer:
        if layer not in self._buffers:
            raise KeyError(layer)
        return self._buffers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def __len__(self) -> int:
        return len(self._buffers)

    def add(self, reading: Reading) -> None:
        """Add a reading, and update the extremes."""
        layer = reading.layer
        self.last_step = reading.step
        self._buffers[layer].append(reading)
        peak = self.peaks.get(layer)
        if peak is None or _exceeds(reading, peak):
            self.peaks[layer] = reading
        if len(self._buffers[layer]) >= SMOOTHED_READINGS:
            least = self.min_gradient_over_weight.get(layer, math.inf)
            self.min_gradient_over_weight[layer] = min(least, self.gradient_over_weight(layer))

    def add_rows(self, layer: str, touched: Tensor) -> None:
        """Add which rows of a matrix have a gradient at this reading."""
        self.rows.setdefault(layer, TouchedRows(touched)).add(touched)

    def at(self, step: int) -> list[Reading]:
        """The readings of a step, if it is the last one of their tensors."""
        if step != self.last_step:
            return []
        return [
            readings[-1]
            for readings in self._buffers.values()
            if readings and readings[-1].step == step
        ]

    def latest(self) -> list[Reading]:
        """The readings of the last step that was read."""
        return self.at(self.last_step)

    def lr_raised(self, last: int) -> bool:
        """Whether lr more than doubled between any of the last scheduled readings, of any tensor."""
        return any(
            new > 2 * old
            for readings in self._buffers.values()
            for old, new in pairwise(self._last_lrs(readings, last))
        )

    def _last_lrs(self, readings: ReadingBuffer, last: int) -> list[float]:
        """The learning rates since the last + 1 scheduled readings."""
        steps = readings.column("step").tolist()
        scheduled = [i for i, step in enumerate(steps) if step not in self.off_schedule]
        first = scheduled[-last - 1] if len(scheduled) > last else 0
        return readings.column("lr")[first:].tolist()

    def gradient_over_weight(self, layer: str) -> float:
        """A tensor's gradient RMS over its weight RMS, the median of the last 8 readings; never 0."""
        g_rms = self._buffers[layer].column("g_rms")[-SMOOTHED_READINGS:]
        weight_rms = self._buffers[layer].column("weight_rms")[-SMOOTHED_READINGS:]
        return max(median((g_rms / np.maximum(weight_rms, TINY)).tolist()), TINY)


def _exceeds(reading: Reading, peak: Reading) -> bool:
    """Whether a reading has a larger lr than the peak, or about the same and larger weights."""
    about_same_lr = reading.lr >= PEAK_LR_SHARE * peak.lr
    return reading.lr > peak.lr or (about_same_lr and reading.weight_rms > peak.weight_rms)

"""Ring buffer of one tensor's last readings, as a compact structured array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_type_hints, overload

import numpy as np

from betaplane.monitor.quantities.reading import Reading

CONSTANT_FIELDS = ("layer", "shape", "dtype")  # the same in every reading of a tensor
# compared exactly with each other; measured quantities come from float32 anyway
FLOAT64_FIELDS = ("t", "before", "lr", "beta1", "beta2", "eps")
FIELDS = [name for name in Reading._fields if name not in CONSTANT_FIELDS]
_FORMATS = {int: "i8", bool: "?", float: "f4"}
_TYPES = get_type_hints(Reading)
ROW = np.dtype(
    [(name, "f8" if name in FLOAT64_FIELDS else _FORMATS[_TYPES[name]]) for name in FIELDS]
)


class ReadingBuffer(Sequence[Reading]):
    """The last readings of one tensor, oldest first; the newest one is kept unrounded.

    Args:
        length: the maximum number of readings, >= 1.
    """

    def __init__(self, length: int) -> None:
        self.rows = np.zeros(length, ROW)
        self.appended = 0  # readings so far, including those that were overwritten
        self.newest: Reading | None = None

    def append(self, reading: Reading) -> None:
        """Add a reading; it replaces the oldest one if the buffer is full."""
        with np.errstate(over="ignore"):  # values beyond float32 become infinite
            self.rows[self.appended % len(self.rows)] = tuple(
                getattr(reading, name) for name in FIELDS
            )
        self.appended += 1
        self.newest = reading

    def __len__(self) -> int:
        return min(self.appended, len(self.rows))

    @overload
    def __getitem__(self, i: int) -> Reading: ...
    @overload
    def __getitem__(self, i: slice) -> list[Reading]: ...
    def __getitem__(self, i: int | slice) -> Reading | list[Reading]:
        positions = range(len(self))[i]
        if isinstance(positions, range):
            return [*self._at(positions)]
        if positions == len(self) - 1 and self.newest is not None:
            return self.newest
        return next(self._at([positions]))

    def column(self, name: str) -> np.ndarray:
        """One quantity of every reading, oldest first, (len,)."""
        rows = self.rows[name]
        if self.appended <= len(rows):
            return rows[: self.appended]
        first = self.appended % len(rows)
        return np.concatenate([rows[first:], rows[:first]])

    def __iter__(self) -> Iterator[Reading]:
        return self._at(range(len(self)))

    def _at(self, positions: Sequence[int]) -> Iterator[Reading]:
        newest = self.newest
        if newest is None:
            return
        first = self.appended - len(self)
        rows = self.rows[[(first + position) % len(self.rows) for position in positions]]
        for position, row in zip(positions, rows.tolist(), strict=True):
            if position == len(self) - 1:
                yield newest
            else:
                fields = (newest.layer, *row[:3], newest.shape, newest.dtype, *row[3:])
                yield Reading._make(fields)

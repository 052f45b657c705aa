"""The last readings of one tensor, in little more memory than their numbers take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_type_hints, overload

import numpy as np

from betaplane.monitor.quantities.reading import Reading

SHARED = ("layer", "shape", "dtype")  # the same in every reading of a tensor
EXACT = (
    "t",
    "before",
    "lr",
    "beta1",
    "beta2",
    "eps",
)  # compared with each other; measured numbers are of float32 anyway
FIELDS = [name for name in Reading._fields if name not in SHARED]
KINDS = {int: "i8", bool: "?", float: "f4"}
TYPES = get_type_hints(Reading)
ROW = np.dtype([(name, "f8" if name in EXACT else KINDS[TYPES[name]]) for name in FIELDS])


class Readings(Sequence[Reading]):
    """As many readings as there is room for, oldest first; the newest is kept as it came.

    Args:
        length: how many, >= 1.
    """

    def __init__(self, length: int) -> None:
        self.rows, self.taken = np.zeros(length, ROW), 0
        self.newest: Reading | None = None

    def append(self, reading: Reading) -> None:
        """Take one; the oldest goes where there is no room."""
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite
            self.rows[self.taken % len(self.rows)] = tuple(
                getattr(reading, name) for name in FIELDS
            )
        self.taken, self.newest = self.taken + 1, reading

    def __len__(self) -> int:
        return min(self.taken, len(self.rows))

    @overload
    def __getitem__(self, i: int) -> Reading: ...
    @overload
    def __getitem__(self, i: slice) -> list[Reading]: ...
    def __getitem__(self, i: int | slice) -> Reading | list[Reading]:
        chosen = range(len(self))[i]
        if isinstance(chosen, range):
            return [*self._those(chosen)]
        if chosen == len(self) - 1 and self.newest is not None:
            return self.newest
        return next(self._those([chosen]))

    def column(self, name: str) -> np.ndarray:
        """One figure of every reading, oldest first, (len,)."""
        rows, first = self.rows[name], self.taken % len(self.rows)
        return (
            rows[: self.taken]
            if self.taken <= len(rows)
            else np.concatenate([rows[first:], rows[:first]])
        )

    def __iter__(self) -> Iterator[Reading]:
        return self._those(range(len(self)))

    def _those(self, places: Sequence[int]) -> Iterator[Reading]:
        newest = self.newest
        if newest is None:
            return
        first = self.taken - len(self)
        rows = self.rows[[(first + place) % len(self.rows) for place in places]]
        for place, row in zip(places, rows.tolist(), strict=True):
            last = place == len(self) - 1
            yield (
                newest
                if last
                else Reading._make((newest.layer, *row[:3], newest.shape, newest.dtype, *row[3:]))
            )

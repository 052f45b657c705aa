"""A measured quantity: its values over seeds, their mean and interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from betaplane.maps.decision import half_width


@dataclass(frozen=True)
class Measured:
    """A quantity of a claim.

    Args:
        values: one value per seed; a single value is exact, since nothing in it is random.
        unit: its unit, or "".
        published: the number that the source states for it, or None.
        note: how the setting of the published number differs.
    """

    values: tuple[float, ...]
    unit: str = ""
    published: float | None = None
    note: str = ""

    @property
    def mean(self) -> float:
        """The mean over seeds; inf or nan if a value is."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean by Student's t; the value itself if there is one.

        Example:
            >>> Measured((2.0,)).interval
            (2.0, 2.0)
            >>> Measured((1.0, 2.0, 3.0)).interval
            (-0.484..., 4.484...)
        """
        return interval(np.array(self.values))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of values over seeds; (-inf, inf) if it is not finite, nan if a value is."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean
    if np.isnan(values).any():
        return math.nan, math.nan
    if not np.isfinite(values).all():
        same = np.isinf(values).all() and len(set(values.tolist())) == 1
        return (mean, mean) if same else (-math.inf, math.inf)
    half = half_width(values)
    return mean - half, mean + half

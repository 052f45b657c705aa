"""Positions and labels of the ticks of an axis: the horizon, and the beta below it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from betaplane.figures._text import MINUS, symbol
from betaplane.maps.grid import Axis, is_beta
from betaplane.text import format_beta, format_number

MAX_TICKS = 8
FACTORS = ((1,), (1, 3), (1, 2, 5))  # round values within a decade, by preference


@dataclass(frozen=True)
class Tick:
    """One tick of an axis."""

    position: float  # see Axis.position
    text: str  # the horizon, or the value
    below: str  # the beta; empty on other axes


def edges(axis: Axis) -> np.ndarray:
    """The borders of an axis's cells in positions, shape (len(axis) + 1,): halfway between the
    values.

    Example:
        >>> edges(Axis("lr", (0.01, 0.1))).tolist()
        [-2.5, -1.5, -0.5]
    """
    spots = axis.positions
    if len(spots) == 1:
        return np.array([spots[0] - 0.5, spots[0] + 0.5])
    middle = (spots[1:] + spots[:-1]) / 2
    return np.concatenate([[2 * spots[0] - middle[0]], middle, [2 * spots[-1] - middle[-1]]])


def label(axis: Axis) -> str:
    """The label of an axis."""
    return (
        f"memory horizon 1/(1 {MINUS} {symbol(axis.name)}), steps"
        if axis.horizons
        else symbol(axis.name)
    )


def ticks(axis: Axis) -> list[Tick]:
    """Round values inside the axis, at least two if it has two values.

    Example:
        >>> [(tick.text, tick.below) for tick in ticks(Axis("beta2", (0.0, 0.9, 0.99)))]
        [('1', '0'), ('10', '0.9'), ('100', '0.99')]
        >>> [tick.text for tick in ticks(Axis("lr", (0.0, 0.2, 0.4), "linear"))]
        ['0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    low, high = edges(axis)[[0, -1]]
    sets = _round_spots(axis.name, low, high) if axis.scale == "log" else _steps(axis, low, high)
    for spots in sets:
        if 3 <= len(spots) <= MAX_TICKS:
            return [_tick(axis, spot) for spot in spots]
    every = max(1, math.ceil(len(axis) / 6))
    return [_tick(axis, float(spot)) for spot in axis.positions[::every]]


def _steps(axis: Axis, low: float, high: float) -> list[list[float]]:
    """Sets of positions of multiples of a round step, the coarsest first."""
    first, last = axis.value(low), axis.value(high)
    first = first if axis.values[0] < 0 else max(first, 0.0)
    ten = 10.0 ** math.floor(math.log10(last - first))
    sets = []
    for step in (ten, ten / 2, ten / 5, ten / 10):
        multiples = range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1)
        sets.append([axis.position(round(step * i, 12)) for i in multiples])
    return sets


def _round_spots(name: str, low: float, high: float) -> list[list[float]]:
    """Sets of round positions, the preferred first: decades, then parts of decades.

    Batch sizes have powers of two.
    """
    if name == "batch_size":
        sets = [[math.log10(2.0) * power for power in range(0, 41, every)] for every in (1, 2, 4)]
    else:
        decades = range(math.floor(low) - 1, math.ceil(high) + 2)
        sets = [
            [ten + math.log10(factor) for ten in decades for factor in factors]
            for factors in FACTORS
        ]
    return [[spot for spot in spots if low - 1e-9 <= spot <= high + 1e-9] for spots in sets]


def _tick(axis: Axis, spot: float) -> Tick:
    if not axis.horizons:
        value = axis.value(spot)
        rounding = 1e-9 * (axis.values[-1] - axis.values[0])
        return Tick(spot, format_number(axis.name, 0.0 if abs(value) < rounding else value), "")
    value = 10.0**spot
    return Tick(
        spot,
        f"{value:.3g}" if value < 1000 else f"{value:,.0f}",
        _short_beta(value),
    )


def _short_beta(horizon: float) -> str:
    return format_beta(
        round(1.0 - 1.0 / horizon, 2 + math.ceil(math.log10(max(horizon, 1.0)) - 1e-9))
    )


def place(axis: Axis, value: float) -> float:
    """The position of a value; NaN if it is not valid on the axis."""
    if not math.isfinite(value) or (is_beta(axis.name) and not 0.0 <= value < 1.0):
        return math.nan
    has_position = is_beta(axis.name) or axis.scale == "linear" or value > 0
    return axis.position(value) if has_position else math.nan


def nearest(axis: Axis, value: float) -> int:
    """The index of the cell nearest to a value."""
    return int(np.argmin(np.abs(axis.positions - place(axis, value))))


def inside(axis: Axis, value: float) -> bool:
    """Whether a value is on the map."""
    low, high = edges(axis)[[0, -1]]
    return bool(low - 1e-9 <= place(axis, value) <= high + 1e-9)

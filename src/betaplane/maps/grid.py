"""Axes of a map: a hyperparameter, its values, and their positions on the plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from betaplane.errors import BadInput, unknown

NAMES = ("beta1", "beta2", "lr", "eps", "batch_size", "weight_decay")
BETAS = ("beta1", "beta2")
EXAMPLE_RANGES = {"batch_size": (4, 256), "beta1": (0, 0.99), "beta2": (0, 0.9999)}


def position(name: str, value: float) -> float:
    """Position of a value on its axis: log10 of the memory horizon 1 / (1 - beta) for betas, log10
    of the value otherwise.

    Equal distances are equal factors of the horizon (or of the value): beta = 0 is at 0, 0.9 at 1,
    0.999 at 3.

    Example:
        >>> position("beta2", 0.99), position("lr", 0.001)
        (2.0, -3.0)
    """
    if name in BETAS:
        return round(-math.log10(1.0 - value), 12) + 0.0
    return math.log10(value) if value > 0 else -math.inf


@dataclass(frozen=True)
class Axis:
    """One axis of a map: a hyperparameter and its values in ascending order."""

    name: str
    values: tuple[float, ...]

    @property
    def positions(self) -> np.ndarray:
        """Positions of the values, shape (len(values),); see `position`."""
        return np.array([position(self.name, value) for value in self.values])

    @property
    def label(self) -> str:
        """The text along the axis."""
        if self.name in BETAS:
            return f"{self.name}, by memory horizon 1/(1-{self.name}) in steps"
        return self.name

    def __len__(self) -> int:
        return len(self.values)


def axis(name: str, low: float, high: float, points: int, *, argument: str = "") -> Axis:
    """An axis of `points` values from low to high, evenly spaced in `position`, rounded to 4
    digits.

    For betas, 1 - beta is rounded; batch sizes are whole numbers. Values that round to the same
    number become one point.

    Args:
        name: a hyperparameter: beta1, beta2, lr, eps, batch_size or weight_decay.
        low: the smallest value; in [0, 1) for betas, >= 1 for batch sizes, > 0 for the others.
        high: the largest value, in the same range, > low.
        points: number of values, >= 2.
        argument: the argument that gave the range ("x" or "y"), for errors.

    Raises:
        BadInput: the name is unknown, or the range is empty, out of bounds or too narrow.

    Example:
        >>> axis("beta2", 0, 0.999, 4).values
        (0.0, 0.9, 0.99, 0.999)
        >>> axis("batch_size", 4, 256, 4).values
        (4, 16, 64, 256)
    """
    _check(name, low, high, points, argument)
    values = sorted(set(_spaced_values(name, low, high, points)))
    if len(values) < 2:
        raise BadInput(
            f"The range of the {name} axis is too narrow",
            value=(low, high),
            allowed="a range with at least 2 values",
            where=argument or "axis",
            instead=_example(name, argument),
        )
    return Axis(name, tuple(values))


def explicit(name: str, values: Sequence[float]) -> Axis:
    """An axis of the given values, sorted."""
    _check(name, min(values), max(values), len(values))
    return Axis(name, tuple(sorted(set(values))))


def _spaced_values(name: str, low: float, high: float, points: int) -> list[float]:
    positions = np.linspace(position(name, low), position(name, high), points)
    if name in BETAS:
        betas = [1 - _rounded(10.0**-place) for place in positions]
        return [float(f"{beta:.12g}") for beta in betas]
    if name == "batch_size":
        return [round(10.0**place) for place in positions]
    return [_rounded(10.0**place) for place in positions]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _check(name: str, low: float, high: float, points: int, argument: str = "") -> None:
    if name not in NAMES:
        where = argument or "axis"
        raise unknown("axis", name, NAMES, where=where, instead=f'{argument or "name"}="{{}}"')
    for what, value in {"low": low, "high": high, "points": points}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise BadInput(
                f"{what} is not a number",
                value=value,
                allowed="a number",
                where=argument or "axis",
                instead=_example(name, argument),
            )
    _check_range(name, low, high, argument)
    if points < 2:
        raise BadInput(
            "An axis needs at least 2 points",
            value=points,
            allowed="[2, inf)",
            where="points",
            instead="points=24",
        )


def _check_range(name: str, low: float, high: float, argument: str) -> None:
    lower, upper, interval = _bounds(name)
    inside = low >= lower and high < upper and (name in BETAS or low > 0)
    if not inside or not low < high:
        raise BadInput(
            f"Invalid range for the {name} axis",
            value=(low, high),
            allowed=f"low < high, both in {interval}",
            where=argument or "axis",
            instead=_example(name, argument),
        )


def _bounds(name: str) -> tuple[float, float, str]:
    if name in BETAS:
        return 0.0, 1.0, "[0, 1)"
    if name == "batch_size":
        return 1.0, math.inf, "[1, inf)"
    return 0.0, math.inf, "(0, inf)"


def _example(name: str, argument: str) -> str:
    low, high = EXAMPLE_RANGES.get(name, (1e-4, 0.1))
    if argument:
        return f'{argument}=("{name}", {low}, {high})'
    return f'axis("{name}", {low}, {high}, 24)'

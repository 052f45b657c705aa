"""The two axes of a map: which hyperparameter, which values, and where they lie on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from betaplane.errors import BadInput, nearest

NAMES = ("beta1", "beta2", "lr", "eps", "batch_size", "weight_decay")
BETAS = ("beta1", "beta2")


def position(name: str, value: float) -> float:
    """Where a value lies on its axis: log10 of the memory horizon 1 / (1 - beta) for betas, else
    log10.

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
        """Where the values lie, shape (len(values),); see `position`."""
        return np.array([position(self.name, value) for value in self.values])

    @property
    def label(self) -> str:
        """What is written along the axis."""
        return (
            f"{self.name}, by memory horizon 1/(1-{self.name}) in steps"
            if self.name in BETAS
            else self.name
        )

    def __len__(self) -> int:
        return len(self.values)


def axis(name: str, low: float, high: float, points: int) -> Axis:
    """An axis of `points` values from low to high, evenly spaced in `position`, rounded to 4
    digits.

    For betas it is 1 - beta that is rounded; batch sizes are whole numbers. Values that are rounded to the same one
    are one point.

    Example:
        >>> axis("beta2", 0, 0.999, 4).values
        (0.0, 0.9, 0.99, 0.999)
        >>> axis("batch_size", 4, 256, 4).values
        (4, 16, 64, 256)
    """
    _check(name, low, high, points)
    spots = np.linspace(position(name, low), position(name, high), points)
    if name in BETAS:
        values = [float(1 - _rounded(10.0**-spot) + 0.0) for spot in spots]
        values = [float(f"{value:.12g}") for value in values]
    elif name == "batch_size":
        values = [round(10.0**spot) for spot in spots]
    else:
        values = [_rounded(10.0**spot) for spot in spots]
    values = sorted(set(values))
    if len(values) < 2:
        raise BadInput(
            f"The range of the {name} axis is too narrow",
            value=(low, high),
            allowed="a range that holds 2 values",
            where=f"axis {name}",
            instead=_pasted(name),
        )
    return Axis(name, tuple(values))


def explicit(name: str, values: Sequence[float]) -> Axis:
    """An axis of the values given, sorted."""
    _check(name, min(values), max(values), max(len(values), 2))
    return Axis(name, tuple(sorted(set(values))))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _check(name: str, low: float, high: float, points: int) -> None:
    if name not in NAMES:
        allowed, instead = ", ".join(NAMES), _option(nearest(name, NAMES, "beta1"))
        raise BadInput(
            "There is no such axis", value=name, allowed=allowed, where="--x/--y", instead=instead
        )
    for what, value in {"low": low, "high": high, "points": points}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise BadInput(
                f"{what} is not a number",
                value=value,
                allowed="a number",
                where=f"axis {name}",
                instead=_pasted(name),
            )
    floor, ceiling, text = (0.0, 1.0, "[0, 1)") if name in BETAS else (0.0, math.inf, "(0, inf)")
    floor, text = (1.0, "[1, inf)") if name == "batch_size" else (floor, text)
    fits = low >= floor and high < ceiling and (name in BETAS or low > 0)
    if not fits or not low < high:
        raise BadInput(
            f"The range of the {name} axis is not one",
            value=(low, high),
            allowed=f"low < high, both in {text}",
            where=f"axis {name}",
            instead=_pasted(name),
        )
    if points < 2:
        raise BadInput(
            "An axis needs at least 2 points",
            value=points,
            allowed="[2, inf)",
            where=f"axis {name}",
            instead="24",
        )


def _pasted(name: str) -> str:
    ends = {"batch_size": "4:256", "beta1": "0:0.99", "beta2": "0:0.9999"}
    return f"{_option(name)}={ends.get(name, '1e-4:1e-1')}"


def _option(name: str) -> str:
    return f"--{'y' if name == 'beta2' else 'x'} {name}"

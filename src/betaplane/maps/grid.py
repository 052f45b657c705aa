"""Axes of a map: a hyperparameter, its values, and their positions on the plot."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from betaplane.cached import cached_property
from betaplane.errors import BadInput, nearest, unknown
from betaplane.text import setting_of

# the hyperparameters that an axis can vary, each with its default range
RANGES: dict[str, tuple[float, float]] = {
    "beta1": (0, 0.99),
    "beta2": (0, 0.9999),
    "lr": (1e-4, 0.1),
    "eps": (1e-12, 0.1),
    "batch_size": (4, 256),
    "weight_decay": (1e-4, 1.0),
}
NAMES = tuple(RANGES)
BETAS = ("beta1", "beta2")
RESERVED = ("seed", "steps", "run", "rule")  # no axes
Scale = Literal["log", "linear"]
SCALES: tuple[Scale, ...] = ("log", "linear")
# The length of every linear axis, so that distances can be compared with decades of other axes
LINEAR_LENGTH = 3.0


def is_beta(name: str) -> bool:
    """Whether a name means beta1 or beta2, of all parameters or of a group of them."""
    return setting_of(name) in BETAS


def is_of_group(name: str) -> bool:
    """Whether a name means a setting of a parameter group, such as "embedding.beta2"."""
    return "." in name


def position(name: str, value: float) -> float:
    """Position of a value on a logarithmic axis: log10 of the memory horizon 1 / (1 - beta) for
    betas, log10 of the value otherwise.

    Equal distances are equal factors of the horizon (or of the value): beta = 0 is at 0, 0.9 at 1,
    0.999 at 3.

    Example:
        >>> position("beta2", 0.99), position("lr", 0.001)
        (2.0, -3.0)
    """
    if is_beta(name):
        return round(-math.log10(1.0 - value), 12) + 0.0
    return math.log10(value) if value > 0 else -math.inf


@dataclass(frozen=True)
class Axis:
    """One axis of a map: a hyperparameter and its values in ascending order."""

    name: str
    values: tuple[float, ...]
    scale: Scale = "log"
    of_problem: bool = False  # an option of the problem, such as n of `counterexample`

    @property
    def horizons(self) -> bool:
        """Whether it is laid out in memory horizons 1 / (1 - beta)."""
        return is_beta(self.name) and self.scale == "log"

    @cached_property
    def positions(self) -> np.ndarray:
        """Positions of the values, shape (len(values),); read-only, since it is shared."""
        positions = np.array([self.position(value) for value in self.values])
        positions.flags.writeable = False
        return positions

    def position(self, value: float) -> float:
        """The position of a value: see `position`; on a linear axis, in thirds of its length.

        Example:
            >>> Axis("lr", (0.01, 0.1)).position(0.1), Axis("lr", (0.01, 0.1), "linear").position(0.1)
            (-1.0, 3.0)
        """
        if self.scale == "log":
            return position(self.name, value)
        low, high = self.values[0], self.values[-1]
        return LINEAR_LENGTH * (value - low) / ((high - low) or 1.0)

    def value(self, position: float) -> float:
        """The value at a position."""
        if self.scale == "linear":
            low, high = self.values[0], self.values[-1]
            return low + (high - low) * position / LINEAR_LENGTH
        return 1 - 10.0**-position if is_beta(self.name) else 10.0**position

    def nearest(self, value: float) -> int:
        """The index of the value that is nearest, by position."""
        return int(np.argmin(np.abs(self.positions - self.position(value))))

    @property
    def label(self) -> str:
        """The text along the axis."""
        if self.horizons:
            return f"{self.name}, by memory horizon 1/(1-{setting_of(self.name)}) in steps"
        return self.name

    def __len__(self) -> int:
        return len(self.values)


def distance_units(x: Axis, y: Axis) -> tuple[str, str]:
    """One unit of a distance on a map, and the plural."""
    scales = {x.scale, y.scale}
    if scales == {"log"}:
        return "decade", "decades"
    if scales == {"linear"}:
        return "third of an axis", "thirds of an axis"
    return "decade or third of an axis", "decades or thirds of an axis"


def axis(
    name: str,
    low: float,
    high: float,
    points: int,
    *,
    scale: Scale = "log",
    whole: bool | None = None,
    argument: str = "",
    known: Sequence[str] = NAMES,
) -> Axis:
    """An axis of `points` evenly spaced values from low to high, rounded to 4 digits.

    On the logarithmic scale, values are evenly spaced in `position`, and 1 - beta is rounded for
    betas. Batch sizes are whole numbers. Values that round to the same number become one point.

    Args:
        name: a hyperparameter: beta1, beta2, lr, eps, batch_size or weight_decay, also of a
            parameter group ("embedding.beta2"); or an option of the problem or a hyperparameter of
            the user's own.
        low: the smallest value; in [0, 1) for betas, >= 1 for batch sizes, > 0 for the others, or
            >= 0 on a linear scale.
        high: the largest value, in the same range, > low.
        points: number of values, >= 2.
        scale: "log" or "linear".
        whole: for an option of the problem or a hyperparameter of the user's own: whether its
            values are whole numbers. None: the name is a hyperparameter of the rule, or batch_size.
        argument: the argument that gave the range ("x" or "y"), for errors.
        known: the names that exist, for errors.

    Raises:
        BadInput: the name is unknown, or the range is empty, out of bounds or too narrow.

    Example:
        >>> axis("beta2", 0, 0.999, 4).values
        (0.0, 0.9, 0.99, 0.999)
        >>> axis("batch_size", 4, 256, 4).values
        (4, 16, 64, 256)
        >>> axis("beta2", 0, 0.9, 4, scale="linear").values
        (0.0, 0.3, 0.6, 0.9)
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES, where=argument or "axis", instead='scale="{}"')
    if name not in known and whole is None:
        where = argument or "axis"
        raise unknown("axis", name, known, where=where, instead=f'{argument or "name"}="{{}}"')
    _check(name, low, high, points, argument, scale)
    integers = setting_of(name) == "batch_size" or bool(whole)
    values = sorted(set(_spaced_values(name, low, high, points, scale, integers)))
    if len(values) < 2:
        raise BadInput(
            f"The range of the {name} axis is too narrow",
            value=(low, high),
            allowed="a range with at least 2 values",
            where=argument or "axis",
            instead=_example(name, argument),
        )
    return Axis(name, tuple(values), scale, whole is not None)


def explicit(name: str, values: Sequence[float]) -> Axis:
    """An axis of the given values, sorted; the name may be a hyperparameter of the user's own."""
    _check(name, min(values), max(values), len(values))
    return Axis(name, tuple(sorted(set(values))))


def _spaced_values(
    name: str, low: float, high: float, points: int, scale: Scale, whole: bool
) -> list[float]:
    ends = Axis(name, (low, high), scale)
    first, last = ends.positions
    values = [ends.value(place) for place in np.linspace(first, last, points)]
    if whole:
        return [round(value) for value in values]
    if ends.horizons:
        return [round_horizon(value) for value in values]
    return [round_value(value) for value in values]


def round_value(value: float) -> float:
    """A value, rounded to 4 digits."""
    return float(f"{value:.4g}")


def round_horizon(beta: float) -> float:
    """A beta, with 1 - beta rounded to 4 digits."""
    return float(f"{1 - round_value(1 - beta):.12g}")


def check_own_axis(name: str, low: float | None, high: float | None, argument: str) -> None:
    """Raise BadInput for a hyperparameter of the user's own without a range, or with a name that
    has another meaning.
    """
    group, _, setting = name.rpartition(".")
    of_group = re.fullmatch(r"\w+(\.\w+)*", group or "_")
    if not of_group or not setting.isidentifier() or setting in RESERVED:
        raise BadInput(
            "The name cannot be a hyperparameter",
            value=name,
            allowed=f"letters, digits and _, and none of {', '.join(RESERVED)}; before it a "
            "parameter group and a dot",
            where=argument,
        )
    if setting not in NAMES and (low is None or high is None):
        close = nearest(setting, NAMES, "")
        guess = f" (or did you mean {close}?)" if close else ""
        raise BadInput(
            f"A hyperparameter of your own needs a range{guess}",
            value=name,
            where=argument,
            instead=f'{argument}=("{name}", 0.1, 10)',
        )


def _check(
    name: str,
    low: float,
    high: float,
    points: int,
    argument: str = "",
    scale: Scale = "log",
) -> None:
    for what, value in {"low": low, "high": high, "points": points}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise BadInput(
                f"{what} is not a number",
                value=value,
                allowed="a number",
                where=argument or "axis",
                instead=_example(name, argument),
            )
    _check_range(name, low, high, argument, scale)
    if points < 2:
        raise BadInput(
            "An axis needs at least 2 points",
            value=points,
            allowed="[2, inf)",
            where="points",
            instead="points=24",
        )


def _check_range(name: str, low: float, high: float, argument: str, scale: Scale) -> None:
    interval = _interval(name, scale)
    lower, upper = (float(end) for end in interval[1:-1].split(","))
    above = low >= lower if interval[0] == "[" else low > lower
    if not (above and high < upper and low < high):
        raise BadInput(
            f"Invalid range for the {name} axis",
            value=(low, high),
            allowed=f"low < high, both in {interval}",
            where=argument or "axis",
            instead=_example(name, argument),
        )


def _interval(name: str, scale: Scale) -> str:
    """The valid values of an axis."""
    if is_beta(name):
        return "[0, 1)"
    name = setting_of(name)
    if name == "batch_size":
        return "[1, inf)"
    if scale == "log" or name == "lr":
        return "(0, inf)"
    return "[0, inf)" if name in NAMES else "(-inf, inf)"


def _example(name: str, argument: str) -> str:
    low, high = RANGES.get(setting_of(name), (5, 50))
    if argument:
        return f'{argument}=("{name}", {low}, {high})'
    return f'axis("{name}", {low}, {high}, 24)'

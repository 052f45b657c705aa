"""Checks of closed forms' arguments, and conversions of their results."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput

# A float if all arguments are floats, else a float64 array in the broadcast shape. NumPy's own
# functions are typed as Any, too.
FloatOrArray = Any


class ArgumentRange(NamedTuple):
    """The interval of valid values of an argument, and what errors propose."""

    allowed: str  # in mathematical notation: "[0, 1)"
    instead: float  # a valid value
    line: str = ""  # what to write instead, if the argument is made of several

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether the interval contains each element; false for NaN."""
        low, high = (float(end) for end in self.allowed[1:-1].split(","))
        above = x >= low if self.allowed[0] == "[" else x > low
        return above & (x <= high if self.allowed[-1] == "]" else x < high)


BETA = ArgumentRange("[0, 1)", 0.9)
POSITIVE_BETA = ArgumentRange("(0, 1)", 0.9)
STEP = ArgumentRange("[1, inf)", 1000)
STEP_OR_INF = ArgumentRange("[1, inf]", 1000)
POSITIVE = ArgumentRange("(0, inf)", 1.0)
NOT_NEGATIVE = ArgumentRange("[0, inf)", 0.0)


def check_arrays(where: str, **arguments: tuple[ArrayLike, ArgumentRange]) -> list[np.ndarray]:
    """Check that arguments are in their ranges and that their shapes broadcast.

    Args:
        where: the name of the calling function.
        arguments: name=(value, range).

    Returns:
        One float64 array per argument, each in its own shape.

    Raises:
        BadInput: a value is not a number, is out of range, or does not broadcast.
    """
    arrays = [_check(where, name, value, range) for name, (value, range) in arguments.items()]
    try:
        np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError as error:
        shapes = ", ".join(f"{name} {x.shape}" for name, x in zip(arguments, arrays, strict=True))
        raise BadInput(
            f"The shapes of {shapes} do not broadcast", where=where, instead="arrays of one shape"
        ) from error
    return arrays


def check_floats(where: str, **arguments: tuple[ArrayLike, ArgumentRange]) -> list[float]:
    """Check arguments like `check_arrays`, and that each is a single number."""
    arrays = check_arrays(where, **arguments)
    for (name, (_, range)), x in zip(arguments.items(), arrays, strict=True):
        if x.ndim:
            raise BadInput(
                f"{name} is not one number",
                value=x.tolist(),
                allowed=f"a number in {range.allowed}",
                where=where,
                instead=f"{name}={range.instead}",
            )
    return [float(x) for x in arrays]


def check_integers(where: str, **arguments: tuple[object, int]) -> None:
    """Check that arguments, name=(value, least), are integers and at least `least`."""
    for name, (value, least) in arguments.items():
        if not (isinstance(value, int | np.integer) and value >= least):
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=f"{least}, {least + 1}, ...",
                where=where,
                instead=f"{name}={least}",
            )


def unwrap(x: ArrayLike) -> FloatOrArray:
    """Convert to float64: a 0-d array to a float, others to an array."""
    x = np.asarray(x, dtype=float)
    return float(x) if x.ndim == 0 else x


def unwrap_below_one(x: ArrayLike) -> FloatOrArray:
    """Convert like `unwrap`, and round 1 down: x is below 1, and rounding may not reach 1."""
    return unwrap(np.minimum(x, np.nextafter(1.0, 0.0)))


def _check(where: str, name: str, value: ArrayLike, range: ArgumentRange) -> np.ndarray:
    instead = range.line or f"{name}={range.instead}"
    try:
        x = np.asarray(value, dtype=float)
        if np.asarray(value).dtype.kind in "SU":
            raise TypeError("text")
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{name} is not a number", value=value, where=where, instead=instead
        ) from error
    outside = x[~range.contains(x)]
    if outside.size:
        raise BadInput(
            f"{name} is out of range",
            value=float(outside.flat[0]),
            allowed=range.allowed,
            where=where,
            instead=instead,
        )
    return x

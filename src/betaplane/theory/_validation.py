"""What a closed form asks of its arguments, and how it answers: arrays inside, floats back for
floats.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput

# A float where every argument was one, else float64 in the broadcast shape; numpy's own functions
# say Any as well.
Numbers = Any


class ArgumentRange(NamedTuple):
    """An interval as it is written, and a value from it for the line to write instead."""

    allowed: str
    instead: float
    line: str = ""  # to write instead, where what is asked for is made of several arguments

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Where x lies in the interval; NaN does nowhere."""
        low, high = (float(end) for end in self.allowed[1:-1].split(","))
        above = x >= low if self.allowed[0] == "[" else x > low
        return above & (x <= high if self.allowed[-1] == "]" else x < high)


BETA = ArgumentRange("[0, 1)", 0.9)
BETA_NOT_ZERO = ArgumentRange("(0, 1)", 0.9)
STEP = ArgumentRange("[1, inf)", 1000)
STEP_OR_EVER = ArgumentRange("[1, inf]", 1000)
POSITIVE = ArgumentRange("(0, inf)", 1.0)
NOT_NEGATIVE = ArgumentRange("[0, inf)", 0.0)


def asked(where: str, **given: tuple[ArrayLike, ArgumentRange]) -> list[np.ndarray]:
    """The arguments as float64 arrays, in order, if each lies in its range and their shapes
    broadcast.

    Args:
        where: the function that asks.
        given: name=(value, range).

    Returns:
        One array for each argument, in its own shape.

    Raises:
        BadInput: for what is no number, lies out of range, or does not broadcast.
    """
    arrays = [_inside(where, name, value, range) for name, (value, range) in given.items()]
    try:
        np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError as error:
        shapes = ", ".join(f"{name} {x.shape}" for name, x in zip(given, arrays, strict=True))
        raise BadInput(
            f"The shapes of {shapes} do not broadcast", where=where, instead="arrays of one shape"
        ) from error
    return arrays


def one(where: str, **given: tuple[ArrayLike, ArgumentRange]) -> list[float]:
    """As `asked`, of arguments that are one number each."""
    arrays = asked(where, **given)
    for (name, (_, range)), x in zip(given.items(), arrays, strict=True):
        if x.ndim:
            told = {"value": x.tolist(), "allowed": f"a number in {range.allowed}", "where": where}
            raise BadInput(f"{name} is not one number", **told, instead=f"{name}={range.instead}")
    return [float(x) for x in arrays]


def whole(where: str, **given: tuple[object, int]) -> None:
    """Raise BadInput for the first argument, name=(value, least), that is no whole number or less
    than `least`.
    """
    for name, (value, least) in given.items():
        if not (isinstance(value, int | np.integer) and value >= least):
            allowed = f"{least}, {least + 1}, ..."
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=allowed,
                where=where,
                instead=f"{name}={least}",
            )


def plain(x: ArrayLike) -> Numbers:
    """A float for a 0-d array, anything else as it is, in float64."""
    x = np.asarray(x, dtype=float)
    return float(x) if x.ndim == 0 else x


def below_one(x: ArrayLike) -> Numbers:
    """What `plain` gives, rounded down where a value below 1 has been rounded to 1."""
    return plain(np.minimum(x, np.nextafter(1.0, 0.0)))


def _inside(where: str, name: str, value: ArrayLike, range: ArgumentRange) -> np.ndarray:
    instead = range.line or f"{name}={range.instead}"
    try:
        x = np.asarray(value, dtype=float)
        if np.asarray(value).dtype.kind in "SU":
            raise TypeError("text")
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{name} is not a number", value=value, where=where, instead=instead
        ) from error
    outside = x[~range.holds(x)]
    if outside.size:
        wrong = float(outside.flat[0])
        raise BadInput(
            f"{name} is out of range",
            value=wrong,
            allowed=range.allowed,
            where=where,
            instead=instead,
        )
    return x

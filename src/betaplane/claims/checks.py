"""Checks: the conditions of a claim's verdict, each on one or two measured quantities.

A check compares 95% intervals over seeds, not means: if the interval contains the bound, the check
is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from betaplane.claims.measured import Measured, interval
from betaplane.text import format_number

State = Literal["holds", "fails", "undecided", "not measured"]
Results = Mapping[str, Measured]
DIGITS = 5  # significant digits of printed numbers


@dataclass(frozen=True)
class Check:
    """A condition on a measured quantity.

    Args:
        of: name of the quantity.
        when: the condition of the claim under which it is checked, such as "n >= 10"; "" if the
            claim as a whole depends on it.
    """

    of: str
    when: str = field(default="", kw_only=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities that it reads."""
        return (self.of,)

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        raise NotImplementedError

    def compared(self, results: Results) -> np.ndarray:
        """What is compared with the bounds, one value per seed."""
        return np.array(results[self.of].values)

    def state(self, results: Results) -> State:
        """Whether the whole interval of the mean lies inside the bounds, outside, or neither."""
        if any(name not in results for name in self.names):
            return "not measured"
        low, high = interval(self.compared(results))
        least, most = self.bounds
        if math.isnan(low) or math.isnan(high):
            return "undecided"
        if least <= low and high <= most:
            return "holds"
        return "fails" if high < least or low > most else "undecided"

    def shown(self, results: Results) -> str:
        """The compared value and its interval."""
        if any(name not in results for name in self.names):
            return "not measured"
        low, high = interval(self.compared(results))
        if low == high:
            return number(low, self.digits)
        return f"{number((low + high) / 2)} ({number(low)} to {number(high)})"

    @property
    def digits(self) -> int:
        """Significant digits of an exact value."""
        return DIGITS

    @property
    def subject(self) -> str:
        """What is compared, in words."""
        return self.of

    def __str__(self) -> str:
        least, most = self.bounds
        if math.isinf(most):
            condition = f"at least {number(least)}"
        elif math.isinf(least):
            condition = f"at most {number(most)}"
        else:
            condition = f"from {number(least)} to {number(most)}"
        return f"{self.subject}: {condition}"


@dataclass(frozen=True)
class Near(Check):
    """The quantity equals an expected value.

    Args:
        value: the expected value.
        within: the tolerance, in the quantity's unit.
    """

    value: float
    within: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        return self.value - self.within, self.value + self.within

    @property
    def digits(self) -> int:
        """Enough digits to see the tolerance."""
        if self.value == 0 or self.within == 0:
            return DIGITS
        return max(DIGITS, 2 + math.ceil(math.log10(abs(self.value) / self.within)))

    def __str__(self) -> str:
        return f"{self.of}: {number(self.value, self.digits)} within {number(self.within)}"


@dataclass(frozen=True)
class AtMost(Check):
    """The quantity is at most a bound."""

    bound: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        return -math.inf, self.bound


@dataclass(frozen=True)
class AtLeast(Check):
    """The quantity is at least a bound."""

    bound: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        return self.bound, math.inf


@dataclass(frozen=True)
class Below(Check):
    """The quantity is smaller than another one by a margin, seed by seed.

    Args:
        other: name of the other quantity, with as many values.
        margin: the least difference other - of.
    """

    other: str
    margin: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities that it reads."""
        return self.of, self.other

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        return self.margin, math.inf

    def compared(self, results: Results) -> np.ndarray:
        """What is compared with the bounds, one value per seed."""
        return difference(results[self.other], results[self.of])

    @property
    def subject(self) -> str:
        """What is compared, in words."""
        return f"{self.other} minus {self.of}"

    def __str__(self) -> str:
        if self.margin < 0:
            return f"{self.of} is at most {number(-self.margin)} above {self.other}"
        by = f" by at least {number(self.margin)}" if self.margin else ""
        return f"{self.of} is below {self.other}{by}"


@dataclass(frozen=True)
class Same(Check):
    """Two quantities differ by no more than a margin, seed by seed.

    Args:
        other: name of the other quantity, with as many values.
        within: the largest difference that counts as none; it is stated before the measurement.
    """

    other: str
    within: float

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities that it reads."""
        return self.of, self.other

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval in which `compared` must lie."""
        return -self.within, self.within

    def compared(self, results: Results) -> np.ndarray:
        """What is compared with the bounds, one value per seed."""
        return difference(results[self.of], results[self.other])

    @property
    def subject(self) -> str:
        """What is compared, in words."""
        return f"{self.of} minus {self.other}"

    def __str__(self) -> str:
        return f"{self.of} equals {self.other} within {number(self.within)}"


def difference(first: Measured, second: Measured) -> np.ndarray:
    """First - second, seed by seed; runs that diverged (inf) differ by inf, or by 0 if both did."""
    a, b = np.array(first.values), np.array(second.values)
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def number(value: float, digits: int = DIGITS) -> str:
    """A number with a few significant digits.

    Example:
        >>> number(0.982020914), number(12345.678), number(0.982020914, 9)
        ('0.98202', '12346', '0.982020914')
    """
    return format_number("", value, digits)

"""Losses as text or JSON values: numbers, NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

from betaplane.errors import BadInput


def loss_of(value: Any, where: str) -> float:
    """A logged loss as a float; None, as JSON writes NaN, is NaN.

    Args:
        value: a number, text, or None.
        where: the place in the log, for the error.

    Raises:
        BadInput: it is no number.

    Example:
        >>> loss_of("2.5e-1", "line 1"), loss_of(None, "line 2"), loss_of("Infinity", "line 3")
        (0.25, nan, inf)
    """
    if value is None:
        return math.nan
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(
            "The loss is not a number", value=value, allowed="a number, nan or inf", where=where
        ) from None

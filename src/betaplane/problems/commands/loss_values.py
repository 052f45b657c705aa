"""Losses as text or JSON values: numbers, NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

from betaplane.errors import BadInput


def parse_loss(value: Any, where: str) -> float:
    """A logged loss as a float; None, as JSON writes NaN, is NaN.

    Args:
        value: a number, text, or None.
        where: the place in the log, for the error.

    Raises:
        BadInput: it is no number.

    Example:
        >>> parse_loss("2.5e-1", "line 1"), parse_loss(None, "line 2"), parse_loss("Infinity", "line 3")
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

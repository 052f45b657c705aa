"""Durations as text: 90s, 20m, 1.5h."""

from __future__ import annotations

import math
import re
from typing import Any

from betaplane.errors import BadInput

SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds_in(value: Any, where: str, instead: str) -> float:
    """Seconds in a duration, given as text or as a number of seconds.

    Args:
        value: "90s", "20m", "1.5h", "300" or a number of seconds, > 0.
        where: the name of the argument or option, for the error.
        instead: a working example, for the error.

    Raises:
        BadInput: it is not a duration.

    Example:
        >>> seconds_in("20m", "budget", ""), seconds_in("1.5h", "budget", ""), seconds_in(90, "budget", "")
        (1200.0, 5400.0, 90.0)
    """
    seconds: Any = _parse_duration(value) if isinstance(value, str) else value
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise BadInput(
            "Invalid duration",
            value=value,
            allowed="a number with s, m or h",
            where=where,
            instead=instead,
        )
    return float(seconds)


def _parse_duration(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    return float(match[1]) * SECONDS_PER_UNIT[match[2]] if match else None

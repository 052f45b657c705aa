"""Numbers among the options of an executor, which the command line gives as text."""

from __future__ import annotations

import math

from betaplane.errors import BadInput


def number(executor: str, name: str, value: float | str, *, least: float = 0.0) -> float:
    """An option as a number.

    Args:
        executor: its name, for the error.
        name: of the option, for the error.
        value: the number, perhaps as text.
        least: the smallest valid one.

    Example:
        >>> number("ray", "gpus", "0.5")
        0.5
        >>> number("ray", "gpus", "many")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: gpus is not a number: got 'many'; expected a number >= 0 ...
    """
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        parsed = math.nan
    if not least <= parsed < math.inf:
        raise BadInput(
            f"{name} is not a number" if math.isnan(parsed) else f"{name} is out of range",
            value=value,
            allowed=f"a number >= {least:g}",
            where="executor",
            instead=f'executor="{executor}:{name}=1"',
        )
    return parsed


def whole(executor: str, name: str, value: int | str, *, least: int = 0) -> int:
    """An option as a whole number; see `number`."""
    parsed = number(executor, name, value, least=least)
    if parsed != int(parsed):
        raise BadInput(
            f"{name} is not a whole number",
            value=value,
            allowed=f"a whole number >= {least}",
            where="executor",
            instead=f'executor="{executor}:{name}=1"',
        )
    return int(parsed)

"""Validation of the options of problems."""

from __future__ import annotations

from betaplane.errors import BadInput


def at_least(low: float, where: str, **options: float) -> None:
    """Raise BadInput for the first option below `low` (or NaN, or infinite)."""
    for name, value in options.items():
        if not low <= value < float("inf"):
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=f"[{low}, inf)",
                where=where,
                instead=f"{name}={low}",
            )

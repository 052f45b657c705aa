"""Thresholds of all detectors, loaded from thresholds.toml, so that they can be compared."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("thresholds.toml")


class Threshold(NamedTuple):
    """A limit that a detector compares a quantity with."""

    cause: str  # of the detector
    name: str
    value: float
    quantity: str  # what is compared
    unit: str
    reason: str
    source: str = ""  # authors, year, arXiv id; "" for a choice of this project


def _load() -> dict[str, dict[str, Threshold]]:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        cause: {row["name"]: Threshold(cause=cause, **row) for row in rows}
        for cause, rows in tables.items()
    }


THRESHOLDS = _load()  # by cause, then by name; the first one of a cause decides


def deciding(cause: str) -> Threshold:
    """The threshold that decides whether a cause is reported.

    Example:
        >>> deciding("stale second moment").value
        4.5
    """
    return next(iter(THRESHOLDS[cause].values()))


def limits(cause: str) -> dict[str, Any]:
    """The values of a cause's thresholds, by name.

    Example:
        >>> limits("adaptive edge of stability")
        {'correlation': -0.5, 'steps': 12, 'growth': 1.5}
    """
    return {name: threshold.value for name, threshold in THRESHOLDS[cause].items()}

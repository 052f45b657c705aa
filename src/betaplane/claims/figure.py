"""Figures and tables of a claim as data: a report draws them without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Scale = Literal["linear", "log"]
Numbers = Sequence[float] | np.ndarray
DIGITS = 5  # of stored numbers; a figure shows fewer


@dataclass(frozen=True)
class Series:
    """A curve or a set of points, with a band if `low` and `high` are given."""

    label: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    style: Literal["line", "points", "dashed"] = "line"


@dataclass(frozen=True)
class Heat:
    """Colored cells over a grid: values (len(y), len(x)), and what they are."""

    x: Numbers
    y: Numbers
    values: Sequence[Numbers] | np.ndarray
    label: str
    log: bool = False  # color by the logarithm


@dataclass(frozen=True)
class Panel:
    """One plot: curves over two axes, on top of colored cells if `heat` is given."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series] = ()
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    heat: Heat | None = None
    x_lines: Sequence[float] = field(default=())  # vertical lines, such as a predicted threshold


@dataclass(frozen=True)
class Table:
    """A table: columns, and rows of text or numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def to_data(part: Panel | Table) -> dict[str, Any]:
    """The part as JSON data, with rounded numbers."""
    return _plain(asdict(part))


def panel_from(data: dict[str, Any]) -> Panel:
    """The inverse of `to_data` for a panel."""
    heat = data["heat"]
    series = tuple(Series(**each) for each in data["series"])
    return Panel(**{**data, "series": series, "heat": Heat(**heat) if heat else None})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, range)):
        return [_plain(each) for each in value]
    if isinstance(value, (float, np.floating)):
        number = float(f"{float(value):.{DIGITS}g}")
        return number if np.isfinite(number) else None
    return value.item() if isinstance(value, np.generic) else value

"""Rows of the printed tables, and a progress line."""

from __future__ import annotations

import math
import sys
from typing import cast

from betaplane.problems import Problem


def best_loss(problem: Problem) -> float:
    """The smallest possible loss, which is known for these problems."""
    return cast(float, problem.best)


def deviation(measured: float, exact: float, form: str = ".0%") -> str:
    return "-" if math.isnan(measured / exact) else f"{measured / exact - 1:+{form}}"


def row(*cells: object, wide: bool = False) -> None:
    """Print a row of a table; numbers have four digits."""
    shown = [
        "-" if isinstance(c, float) and math.isnan(c) else f"{c:.4g}" if isinstance(c, float) else c
        for c in cells
    ]
    width = 8 if wide else 12
    print(
        f"\r{shown[0]!s:<34}" if wide else f"\r{shown[0]!s:<12}",
        *(f"{c!s:>{width}}" for c in shown[1:]),
        flush=True,
    )


def progress(text: str) -> None:
    """Print a line that the next one overwrites, if stderr is a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)

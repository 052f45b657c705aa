"""What all pictures of the site have in common: sizes, colors, and SVG text that is the same in every build."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLORS = ("#1b7f79", "#d3691f", "#6b1c40", "#4a5fb0")
MUTED = "#68707b"
STYLES = (
    {"lw": 4, "alpha": 0.45},
    {"lw": 1.8, "ls": "--"},
    {"lw": 1.8, "ls": ":"},
)  # lines that coincide all show
STYLED = matplotlib.rc_context(  # a decorator: the function draws in this style, and leaves matplotlib's as it was
    {
        "axes.edgecolor": MUTED,
        "axes.grid": True,
        "axes.prop_cycle": matplotlib.cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 10,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "betaplane",
    }
)


def panels(
    count: int = 1, width: float = 7.0, height: float = 2.7, bottom: float = 0.55, **options: Any
) -> Any:
    """A figure with `count` panels, at most two in a row, and its panels.

    The figure is `width` inches wide. Each row is `height` high; `bottom` of it is below the panels.
    """
    rows = -(-count // 2)
    figure = Figure(figsize=(width, rows * height))
    axes = figure.subplots(rows, min(count, 2), squeeze=False, **options)
    edges = {
        "left": 0.6 / width,
        "right": 1 - 0.15 / width,
        "hspace": (bottom + 0.35) / (height - bottom - 0.35),
    }
    figure.subplots_adjust(bottom=bottom / (rows * height), top=1 - 0.35 / (rows * height), **edges)
    for unused in axes.flat[count:]:
        unused.axis("off")
    return figure, list(axes.flat[:count])


def svg(figure: Any) -> str:
    """The figure as SVG text."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()

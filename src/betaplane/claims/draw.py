"""Draw a panel of a claim as SVG."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

from betaplane.claims.figure import Heat, Panel, Series
from betaplane.figures import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIGITS = re.compile(r"(\d\.\d\d)\d+")  # of coordinates in points; two decimals are enough
SIZE = (4.4, 3.3)  # inches, so that its text is readable at the width of a phone
COLORS = ("#1f7a70", "#df8530", "#6b1c40", "#3b6fb5", "#68707b", "#b1477c", "#8a8f2d", "#1b1f24")
ON_HEAT = ("#ffffff", "#ff8c42", "#f2b5d4")  # lines over colored cells
STYLES = {"line": "-", "dashed": "--", "points": "none"}
MARKER_POINTS = 20  # a line with fewer points shows them


def svg(panel: Panel) -> str:
    """The panel as an SVG element without an XML header; its text is text."""
    import matplotlib.style
    from matplotlib.figure import Figure

    fonts = {
        "font.size": 9,
        "font.family": "DejaVu Sans",
        "svg.fonttype": "none",
        "svg.hashsalt": panel.title,
    }
    with matplotlib.style.context(["default", fonts]):
        figure = Figure(figsize=SIZE, facecolor=palette.PAPER, layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, panel)
        if panel.heat is not None:
            bar = figure.colorbar(axes.collections[0], ax=axes, label=panel.heat.label)
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = DIGITS.sub(r"\1", text[text.index("<svg") :])
    return re.sub(r"\n\s*", " ", text)


def _draw(axes: Axes, panel: Panel) -> None:
    if panel.heat is not None:
        _draw_heat(axes, panel.heat)
    colors = COLORS if panel.heat is None else ON_HEAT
    for number, series in enumerate(panel.series):
        _draw_series(axes, series, colors[number % len(colors)])
    for x in panel.x_lines:
        axes.axvline(x, color=palette.INK, linewidth=0.9, linestyle=":")
    axes.set(xscale=panel.x_scale, yscale=panel.y_scale)
    axes.set_title(panel.title, loc="left", fontsize=9, color=palette.INK)
    axes.set_xlabel(panel.x_label, color=palette.MUTED)
    axes.set_ylabel(panel.y_label, color=palette.MUTED)
    axes.tick_params(which="both", colors=palette.MUTED, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(palette.FAINT)
    if any(series.label for series in panel.series):
        _draw_legend(axes, on_heat=panel.heat is not None)


def _draw_legend(axes: Axes, on_heat: bool) -> None:
    if on_heat:
        axes.legend(fontsize=7.5, facecolor=palette.INK, framealpha=0.7, labelcolor=palette.PAPER)
    else:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=palette.INK)


def _draw_series(axes: Axes, series: Series, color: str) -> None:
    x, y = (np.array(values, dtype=float) for values in (series.x, series.y))  # None becomes nan
    few = len(x) <= MARKER_POINTS and series.style != "dashed"
    marker = "o" if few or series.style == "points" else ""
    axes.plot(
        x,
        y,
        linestyle=STYLES[series.style],
        marker=marker,
        markersize=3,
        color=color,
        linewidth=1.5,
        label=series.label or None,
    )
    if series.low is not None and series.high is not None:
        low, high = (np.array(values, dtype=float) for values in (series.low, series.high))
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)


def _draw_heat(axes: Axes, heat: Heat) -> None:
    from matplotlib.colors import LogNorm

    values = np.array(
        [[np.nan if v is None else v for v in row] for row in heat.values], dtype=float
    )
    norm = LogNorm() if heat.log else None
    axes.pcolormesh(
        np.array(heat.x),
        np.array(heat.y),
        values,
        cmap="viridis",
        norm=norm,
        shading="nearest",
        rasterized=True,
    )

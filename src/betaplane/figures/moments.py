"""Histograms of sqrt(v_hat) in the layers of a checkpoint, with eps as a line."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from betaplane.figures import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, ROW_HEIGHT = 9.0, 0.24  # inches: of the picture, per layer
MAX_NAME_CHARACTERS = 44


def moments_png(
    title: str,
    rows: Sequence[tuple[str, bool, Sequence[float]]],
    span: tuple[float, float],
    eps: float | None,
    *,
    dpi: int = 150,
) -> bytes:
    """Draw histograms of log10 sqrt(v_hat), the first layer on top.

    Args:
        title: the text above the picture.
        rows: name of each layer, whether it is suspicious, and fractions of its coordinates in
            bins of equal width; at least one row.
        span: log10 at the lower end of the first bin and the upper end of the last one.
        eps: value to mark with a line; no line if it is None or 0.
        dpi: pixels per inch.

    Returns:
        The bytes of a PNG file.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", {"font.size": 8, "font.family": "DejaVu Sans"}]):
        figure = Figure(
            figsize=(WIDTH, 1.3 + ROW_HEIGHT * len(rows)),
            dpi=dpi,
            facecolor=palette.PAPER,
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", fontweight="bold", parse_math=False)
        _draw_histograms(axes, rows, span, eps)
        if eps:
            _mark_eps(axes, eps, len(rows))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _draw_histograms(
    axes: Axes,
    rows: Sequence[tuple[str, bool, Sequence[float]]],
    span: tuple[float, float],
    eps: float | None,
) -> None:
    """Draw one row of shades per layer."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    shares = np.array([row[2] for row in rows], dtype=float)
    edges = np.linspace(*span, shares.shape[1] + 1)
    shades = shares / np.maximum(shares.max(axis=1, keepdims=True), 1e-300)
    colors = LinearSegmentedColormap.from_list(
        "", [palette.PAPER, palette.RAMPS[0][1], palette.INK]
    )
    axes.pcolormesh(edges, np.arange(len(rows) + 1), shades, cmap=colors, vmin=0, vmax=1)
    axes.set_yticks(
        np.arange(len(rows)) + 0.5,
        [_label(name, severe) for name, severe, _ in rows],
        parse_math=False,
    )
    axes.set_ylim(len(rows), 0)
    axes.set_xlim(*_window(edges, shares, eps))
    axes.set_xlabel(
        "log10 sqrt(v_hat) of coordinates with v > 0; darkest at the most frequent value of a layer"
    )


def _mark_eps(axes: Axes, eps: float, height: int) -> None:
    """Draw a line at eps, with its value near the last of `height` rows."""
    x, color = math.log10(eps), palette.SOLID[2]
    axes.axvline(x, color=color, lw=1.6)
    axes.annotate(f" eps = {eps:g}", (x, height - 0.15), color=color, va="bottom")


def _label(name: str, severe: bool) -> str:
    short = name if len(name) <= MAX_NAME_CHARACTERS else f"...{name[-MAX_NAME_CHARACTERS + 3 :]}"
    return f"! {short}" if severe else short


def _window(edges, shares, eps: float | None) -> tuple[float, float]:
    """The range of values and eps, with half a decade on each side."""
    used = shares.sum(axis=0).nonzero()[0]
    ends = [edges[used[0]], edges[used[-1] + 1]] if len(used) else [edges[0], edges[-1]]
    lines = [math.log10(eps)] if eps else []
    return min([*ends, *lines]) - 0.5, max([*ends, *lines]) + 0.5

"""PNG of a watched run: the loss, one quantity of every layer, alerts as numbered lines."""

from __future__ import annotations

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from betaplane.figures import palette
from betaplane.figures.report import _text
from betaplane.figures.report.quantities import Quantity, column_maxima, column_starts, edges
from betaplane.figures.report.run import WatchedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# inches
WIDTH = 10.0
LOSS_HEIGHT = 2.0
LAYER_HEIGHT = 0.24
MIN_LAYERS_HEIGHT = 1.1
MAX_LAYERS_HEIGHT = 9.0
LINE_HEIGHT = 0.17  # of text
LABEL_HEIGHT = 0.13  # of a layer's name
MAX_COLUMNS = 600
MAX_NAME_LETTERS = 34  # of a layer
MAX_ALERTS = 6  # with their text
LINE_LETTERS = 150


def report_png(run: WatchedRun, title: str, quantity: Quantity | None, *, dpi: int = 150) -> bytes:
    """Draw a watched run.

    Args:
        run: the run.
        title: its name, such as the file's.
        quantity: the quantity that the layers show; None if nothing was read.
        dpi: pixels per inch.

    Returns:
        The bytes of a PNG file.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = _alert_lines(run)
    layers_height = _layers_height(run) if quantity else 0.0
    text_height = LINE_HEIGHT * len(lines)
    height = LOSS_HEIGHT + layers_height + text_height + 1.65
    bottom = text_height + 0.6
    left = 0.06 + 0.0062 * max([0, *(len(_short(layer)) for layer in run.layers)])

    def box(
        low: float, up: float, right: float = 0.93, start: float = left
    ) -> tuple[float, float, float, float]:
        return start, low / height, right - start, (up - low) / height

    with matplotlib.style.context(["default", {"font.size": 8, "font.family": "DejaVu Sans"}]):
        figure = Figure(figsize=(WIDTH, height), dpi=dpi, facecolor=palette.PAPER)
        FigureCanvasAgg(figure)
        top = bottom + layers_height
        above = top + (0.24 if quantity else 0.0)
        _loss(figure.add_axes(box(above, above + LOSS_HEIGHT)), run, alone=quantity is None)
        if quantity:
            mesh = _layers(figure.add_axes(box(bottom, top)), run, quantity)
            _color_bar(figure, figure.add_axes(box(bottom, top, 0.95, 0.94)), mesh, quantity)
        _text_around(figure, run, title, lines, height)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _layers_height(run: WatchedRun) -> float:
    height = LAYER_HEIGHT * len(run.layers)
    return min(MAX_LAYERS_HEIGHT, max(MIN_LAYERS_HEIGHT, height))


def _alert_lines(run: WatchedRun) -> list[str]:
    """The first alerts, wrapped to lines that fit."""
    texts = [
        f"{i}  {_text.sentence(alert)}" for i, alert in enumerate(run.alerts[:MAX_ALERTS], start=1)
    ]
    if len(run.alerts) > MAX_ALERTS:
        texts.append(f"and {len(run.alerts) - MAX_ALERTS} more")
    return [
        line
        for text in texts
        for line in textwrap.wrap(text, LINE_LETTERS, subsequent_indent="    ")
    ]


def _loss(axes: Axes, run: WatchedRun, alone: bool) -> None:
    finite = run.losses[np.isfinite(run.losses)]
    axes.plot(run.steps, run.losses, color=palette.INK, lw=0.9)
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    axes.set(xlim=(0.5, run.last + 0.5), ylabel="loss", xlabel="step" if alone else "")
    axes.tick_params(labelbottom=alone, color=palette.MUTED)
    for step in sorted({alert["step"] for alert in run.alerts}):
        numbers = [str(i) for i, alert in enumerate(run.alerts, start=1) if alert["step"] == step]
        axes.annotate(
            ", ".join(numbers),
            (step, 1.01),
            xycoords=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            color=palette.SOLID[2],
            fontweight="bold",
        )
    _marks(axes, run)


def _layers(axes: Axes, run: WatchedRun, quantity: Quantity) -> Any:
    starts = column_starts(run, MAX_COLUMNS)
    values = column_maxima(run.values[quantity.name], starts)
    count = len(run.layers)
    with np.errstate(divide="ignore", invalid="ignore"):
        shades = np.log10(values) if quantity.log else values
    low, high, colors = _color_scale(quantity, shades)
    shades = np.where(np.isneginf(shades), low, shades)
    mesh = axes.pcolormesh(
        edges(run, starts), np.arange(count + 1), shades, cmap=colors, vmin=low, vmax=high
    )
    every = max(1, math.ceil(count * LABEL_HEIGHT / _layers_height(run)))
    labeled = range(0, count, every)
    axes.set_yticks(
        [i + 0.5 for i in labeled],
        [_short(run.layers[i]) for i in labeled],
        parse_math=False,
        fontsize=7,
    )
    axes.set(xlim=(0.5, run.last + 0.5), ylim=(count, 0), xlabel="step")
    _marks(axes, run)
    return mesh


def _color_bar(figure: Figure, axes: Axes, mesh: Any, quantity: Quantity) -> None:
    bar = figure.colorbar(mesh, cax=axes)
    bar.ax.tick_params(labelsize=7, colors=palette.MUTED)
    bar.ax.set_title(
        ("log10 " if quantity.log else "") + quantity.label,
        fontsize=7,
        loc="right",
        color=palette.MUTED,
    )


def _color_scale(quantity: Quantity, shades: np.ndarray) -> tuple[float, float, Any]:
    """The range of the colors, and the colors: teal below the edge, orange to plum above it."""
    from matplotlib.colors import LinearSegmentedColormap

    finite = shades[np.isfinite(shades)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    calm, warm, bad = palette.RAMPS
    if quantity.edge is None:
        colors = LinearSegmentedColormap.from_list("", [calm[0], calm[1], "#14524b"])
        return low, max(high, low + 1e-6), colors
    edge = math.log10(quantity.edge) if quantity.log else quantity.edge
    high = max(high, edge + (0.3 if quantity.log else 0.5 * edge))
    low = max(low, edge - 4) if quantity.log else min(low, 0.0)
    at = min(0.999, max(0.001, (edge - low) / (high - low)))
    stops = [
        (0.0, calm[0]),
        (at, "#2f8f84"),
        (at, warm[0]),
        (at + (1 - at) / 2, warm[1]),
        (1.0, bad[0]),
    ]
    return low, high, LinearSegmentedColormap.from_list("", stops)


def _marks(axes: Axes, run: WatchedRun) -> None:
    for step in {alert["step"] for alert in run.alerts}:
        axes.axvline(step, color=palette.SOLID[2], lw=1.0, ls=":")
    for spine in axes.spines.values():
        spine.set(color=palette.MUTED, linewidth=0.6)


def _text_around(
    figure: Figure, run: WatchedRun, title: str, lines: list[str], height: float
) -> None:
    left: dict[str, Any] = {"x": 0.03, "ha": "left", "va": "baseline", "parse_math": False}
    figure.text(
        y=1 - 0.3 / height,
        s=_text.headline(run),
        fontsize=13,
        fontweight="bold",
        color=palette.INK,
        **left,
    )
    figure.text(
        y=1 - 0.52 / height, s=f"{title}: {_text.summary(run)}", color=palette.MUTED, **left
    )
    for i, line in enumerate(lines):
        figure.text(
            y=(LINE_HEIGHT * (len(lines) - i) - 0.05) / height,
            s=line,
            fontsize=7.5,
            color=palette.INK,
            **left,
        )


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LETTERS else f"...{name[3 - MAX_NAME_LETTERS :]}"

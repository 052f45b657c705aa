"""A watched run as a picture: the loss, one quantity of every layer, alarms as numbered lines."""

from __future__ import annotations

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from betaplane.figures import palette
from betaplane.figures.report import _text
from betaplane.figures.report.run import WatchedRun
from betaplane.figures.report.shown import Quantity, columns, edges, squeezed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# inches: of the picture, the loss, a layer, all layers
WIDTH, LOSS, ROW, LEAST, MOST = 10.0, 2.0, 0.24, 1.1, 9.0
COLUMNS = 600
LONG = 34  # letters of a layer's name
TOLD, LINE = 6, 0.17  # alarms in words; inches of a line


def report_png(run: WatchedRun, title: str, quantity: Quantity | None, *, dpi: int = 150) -> bytes:
    """Draw a watched run.

    Args:
        run: the run.
        title: what it is called, such as its file.
        quantity: what is shown of the layers; None where nothing was read.
        dpi: pixels per inch.

    Returns:
        The bytes of a PNG file.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = _told(run)
    tall = min(MOST, max(LEAST, ROW * len(run.layers))) if quantity else 0.0
    words_tall = LINE * len(lines)
    height, bottom = LOSS + tall + words_tall + 1.65, words_tall + 0.6
    left = 0.06 + 0.0062 * max([0, *(len(_short(layer)) for layer in run.layers)])

    def box(
        low: float, up: float, right: float = 0.93, start: float = left
    ) -> tuple[float, float, float, float]:
        return start, low / height, right - start, (up - low) / height

    with matplotlib.style.context(["default", {"font.size": 8, "font.family": "DejaVu Sans"}]):
        figure = Figure(figsize=(WIDTH, height), dpi=dpi, facecolor=palette.PAPER)
        FigureCanvasAgg(figure)
        over = bottom + tall + (0.24 if quantity else 0.0)
        _loss(figure.add_axes(box(over, over + LOSS)), run, alone=quantity is None)
        if quantity:
            drawn = _layers(figure.add_axes(box(bottom, bottom + tall)), run, quantity)
            _bar(figure, figure.add_axes(box(bottom, bottom + tall, 0.95, 0.94)), drawn, quantity)
        _words(figure, run, title, lines, height)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _told(run: WatchedRun) -> list[str]:
    """The first alarms, in lines that fit."""
    told = [f"{i}  {_text.sentence(alert)}" for i, alert in enumerate(run.alerts[:TOLD], start=1)]
    more = [f"and {len(run.alerts) - TOLD} more"] if len(run.alerts) > TOLD else []
    return [
        line
        for each in [*told, *more]
        for line in textwrap.wrap(each, 150, subsequent_indent="    ")
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
        spot: dict[str, Any] = {
            "xycoords": axes.get_xaxis_transform(),
            "ha": "center",
            "va": "bottom",
        }
        axes.annotate(
            ", ".join(numbers), (step, 1.01), color=palette.SOLID[2], fontweight="bold", **spot
        )
    _marks(axes, run)


def _layers(axes: Axes, run: WatchedRun, quantity: Quantity) -> Any:
    starts = columns(run, COLUMNS)
    values, count = squeezed(run.values[quantity.name], starts), len(run.layers)
    with np.errstate(divide="ignore", invalid="ignore"):
        shades = np.log10(values) if quantity.log else values
    low, high, colours = _scale(quantity, shades)
    shades = np.where(np.isneginf(shades), low, shades)
    drawn = axes.pcolormesh(
        edges(run, starts), np.arange(count + 1), shades, cmap=colours, vmin=low, vmax=high
    )
    every = max(1, math.ceil(count * 0.13 / min(MOST, max(LEAST, ROW * count))))
    kept = range(0, count, every)
    axes.set_yticks(
        [i + 0.5 for i in kept], [_short(run.layers[i]) for i in kept], parse_math=False, fontsize=7
    )
    axes.set(xlim=(0.5, run.last + 0.5), ylim=(count, 0), xlabel="step")
    _marks(axes, run)
    return drawn


def _bar(figure: Figure, axes: Axes, drawn: Any, quantity: Quantity) -> None:
    bar = figure.colorbar(drawn, cax=axes)
    bar.ax.tick_params(labelsize=7, colors=palette.MUTED)
    bar.ax.set_title(
        ("log10 " if quantity.log else "") + quantity.label,
        fontsize=7,
        loc="right",
        color=palette.MUTED,
    )


def _scale(quantity: Quantity, shades: np.ndarray) -> tuple[float, float, Any]:
    """The ends of the colours and the colours: teal while calm, orange to plum from the edge on."""
    from matplotlib.colors import LinearSegmentedColormap

    finite = shades[np.isfinite(shades)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    calm, warm, bad = palette.RAMPS
    if quantity.edge is None:
        return (
            low,
            max(high, low + 1e-6),
            LinearSegmentedColormap.from_list("", [calm[0], calm[1], "#14524b"]),
        )
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


def _words(figure: Figure, run: WatchedRun, title: str, lines: list[str], height: float) -> None:
    left: dict[str, Any] = {"x": 0.03, "ha": "left", "va": "baseline", "parse_math": False}
    figure.text(
        y=1 - 0.3 / height,
        s=_text.headline(run),
        fontsize=13,
        fontweight="bold",
        color=palette.INK,
        **left,
    )
    figure.text(y=1 - 0.52 / height, s=f"{title}: {_text.held(run)}", color=palette.MUTED, **left)
    for i, line in enumerate(lines):
        figure.text(
            y=(LINE * (len(lines) - i) - 0.05) / height,
            s=line,
            fontsize=7.5,
            color=palette.INK,
            **left,
        )


def _short(name: str) -> str:
    return name if len(name) <= LONG else f"...{name[3 - LONG :]}"

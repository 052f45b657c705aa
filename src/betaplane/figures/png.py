"""The map as a PNG picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from betaplane.errors import expect
from betaplane.figures import _scene, _text, _ticks, palette
from betaplane.figures._layout import labels
from betaplane.figures._panel import Panel
from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import PhaseMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 10.0, 7.2  # inches
MAP = (
    0.095,
    0.158,
    0.547,
    0.76,
)  # left, bottom, width, height, in fractions of the figure; a square
DASHES = ("solid", (0, (5, 2.5)), (0, (1.2, 2)), (0, (6, 2, 1.2, 2)))  # by _scene.dash


def png(phase_map: PhaseMap, *, dpi: int = 150) -> bytes:
    """Draw a map.

    Args:
        phase_map: the map.
        dpi: pixels per inch; the picture is 10 x 7.2 inches.

    Returns:
        The bytes of a PNG file.
    """
    expect(phase_map, PhaseMap, "phase_map", "png(map_phases(problem))")
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", {"font.size": 9, "font.family": "DejaVu Sans"}]):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=dpi, facecolor=palette.PAPER)
        FigureCanvasAgg(figure)
        axes = figure.add_axes(MAP)
        _draw_cells(axes, phase_map)
        _draw_ticks(axes, phase_map)
        _draw_over(axes, phase_map)
        _draw_frame(figure, phase_map)
        Panel(figure).draw(phase_map)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _draw_cells(axes: Axes, phase_map: PhaseMap) -> None:
    x, y = _ticks.edges(phase_map.x), _ticks.edges(phase_map.y)
    colors = palette.paint(phase_map.verdicts, _scene.shades(phase_map), _text.ramps(phase_map))
    axes.pcolormesh(x, y, colors.transpose(1, 0, 2), edgecolors="face", linewidth=0.15)
    axes.set(xlim=x[[0, -1]], ylim=y[[0, -1]])
    if _scene.untrained(phase_map):
        spots = _scene.dots(phase_map)
        cell = 72 * WIDTH * MAP[2] / max(len(phase_map.x), len(phase_map.y))  # points
        axes.scatter(
            *spots.T, s=min(0.17 * cell + 0.5, 2.4) ** 2, color=palette.INK, alpha=0.4, linewidths=0
        )


def _draw_ticks(axes: Axes, phase_map: PhaseMap) -> None:
    x, y = _ticks.ticks(phase_map.x), _ticks.ticks(phase_map.y)
    axes.set_xticks([tick.position for tick in x], [tick.text for tick in x])
    axes.set_yticks([tick.position for tick in y], [tick.text for tick in y])
    axes.minorticks_off()
    axes.tick_params(length=3.5, color=palette.MUTED, labelcolor=palette.INK, labelsize=9)
    small: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": palette.MUTED}
    for tick in x:
        axes.annotate(
            tick.below,
            (tick.position, 0),
            (0, -18),
            xycoords=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            **small,
        )
    for tick in y:
        axes.annotate(
            tick.below,
            (0, tick.position),
            (-7, -6),
            xycoords=axes.get_yaxis_transform(),
            ha="right",
            va="top",
            **small,
        )
    axes.set_xlabel(_axis_label(phase_map.x), labelpad=15, color=palette.INK, fontsize=9.5)
    axes.yaxis.set_label_coords(-0.115, 0.5)
    axes.set_ylabel(_axis_label(phase_map.y), color=palette.INK, fontsize=9.5)
    for spine in axes.spines.values():
        spine.set(color=palette.MUTED, linewidth=0.6)


def _axis_label(axis: Axis) -> str:
    small = f"  (below: {_text.symbol(axis.name)})" if axis.horizons else ""
    return _ticks.label(axis) + small


def _halo(width: float, color: str = palette.PAPER, alpha: float = 0.8) -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=color, alpha=alpha), Normal()]


def _draw_over(axes: Axes, phase_map: PhaseMap) -> None:
    """Draw curves, window, star and marks, then their labels."""
    for index, curve in enumerate(phase_map.curves):
        points = _scene.line(phase_map, curve)
        for part, color in zip(
            _scene.split(phase_map, points), (palette.INK, palette.PAPER), strict=True
        ):
            axes.plot(*part.T, color=color, lw=1.3, ls=DASHES[_scene.dash(curve, index)])
    axes.plot(*_scene.undecided(phase_map).T, "x", ms=3.5, mew=0.9, color=palette.INK, zorder=3)
    star = _scene.recommended(phase_map)
    if star is not None:
        x, y, low, high = star
        style: dict[str, Any] = {
            "color": palette.INK,
            "lw": 1.6,
            "path_effects": _halo(3.6),
            "zorder": 4,
        }
        axes.plot([x, x], [low, high], marker="_", ms=9, mew=1.6, **style)
        axes.plot(x, y, "*", ms=19, mfc=palette.PAPER, mec=palette.INK, mew=1.4, zorder=6)
    for mark in _scene.marks_inside(phase_map):
        spot = _scene.point(phase_map, mark.x, mark.y)
        axes.plot(*spot, "o", ms=6.5, mfc=palette.PAPER, mec=palette.INK, mew=1.4, zorder=5)
    _draw_labels(axes, phase_map)


def _draw_labels(axes: Axes, phase_map: PhaseMap) -> None:
    figure: Any = axes.figure
    scale, renderer = figure.dpi / 72.0, figure.canvas.get_renderer()
    style: dict[str, Any] = {"fontsize": 8.5, "va": "center", "parse_math": False, "zorder": 7}

    def measure(text: str, bold: bool) -> tuple[float, float]:
        drawn = axes.text(0, 0, text, fontweight="bold" if bold else "normal", **style)
        box = drawn.get_window_extent(renderer)
        drawn.remove()
        return box.width / scale, box.height / scale

    for label in labels(phase_map, (72 * WIDTH * MAP[2], 72 * HEIGHT * MAP[3]), measure):
        drawn = axes.text(
            label.x, label.y, label.text, rotation=label.angle, ha=label.align, **style
        )
        drawn.set(
            color=palette.PAPER if label.dark else palette.INK,
            fontweight="bold" if label.bold else "normal",
        )
        drawn.set_path_effects(_halo(2.4, palette.RAMPS[2][1], 0.6) if label.dark else _halo(2.4))


def _draw_frame(figure: Figure, phase_map: PhaseMap) -> None:
    left: dict[str, Any] = {"x": MAP[0], "ha": "left", "va": "baseline", "parse_math": False}
    figure.text(
        y=0.962, s=_text.title(phase_map), fontsize=14, fontweight="bold", color=palette.INK, **left
    )
    figure.text(
        y=0.932, s=_text.fixed_settings(phase_map), fontsize=9.5, color=palette.MUTED, **left
    )
    figure.text(
        y=0.022, s=_text.caption(phase_map, " (dots)"), fontsize=8, color=palette.MUTED, **left
    )

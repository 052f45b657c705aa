"""The map as a picture: for a README, a paper, a notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from betaplane.figures import _scene, _ticks, _words, palette
from betaplane.figures._layout import labels
from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import VERDICTS, PhaseMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 10.0, 7.2  # inches
MAP = (0.095, 0.158, 0.547, 0.76)  # left, bottom, width, height, in shares of the figure: a square
PANEL = (0.675, 0.158, 0.31, 0.76)
DASHES = ("solid", (0, (5, 2.5)), (0, (1.2, 2)), (0, (6, 2, 1.2, 2)))  # of the first curve, the second, ...


def png(phase_map: PhaseMap, *, dpi: int = 150) -> bytes:
    """Draw a map.

    Args:
        phase_map: the map.
        dpi: pixels per inch; the picture is 10 x 7.2 inches.

    Returns:
        The bytes of a PNG file.
    """
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
        _Panel(figure).draw(phase_map)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _draw_cells(axes: Axes, phase_map: PhaseMap) -> None:
    x, y = _ticks.edges(phase_map.x), _ticks.edges(phase_map.y)
    colours = palette.paint(phase_map.verdicts, _scene.shades(phase_map))
    axes.pcolormesh(x, y, colours.transpose(1, 0, 2), edgecolors="face", linewidth=0.15)
    axes.set(xlim=x[[0, -1]], ylim=y[[0, -1]])
    if _scene.untrained(phase_map):
        spots = _scene.dots(phase_map)
        cell = 72 * WIDTH * MAP[2] / max(len(phase_map.x), len(phase_map.y))  # points
        axes.scatter(*spots.T, s=(0.17 * cell) ** 2 + 0.4, color=palette.INK, alpha=0.4, linewidths=0)


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
            tick.below, (0, tick.position), (-7, -6), xycoords=axes.get_yaxis_transform(), ha="right", va="top", **small
        )
    axes.set_xlabel(_axis_label(phase_map.x), labelpad=15, color=palette.INK, fontsize=9.5)
    axes.yaxis.set_label_coords(-0.115, 0.5)
    axes.set_ylabel(_axis_label(phase_map.y), color=palette.INK, fontsize=9.5)
    for spine in axes.spines.values():
        spine.set(color=palette.MUTED, linewidth=0.6)


def _axis_label(axis: Axis) -> str:
    small = f"  (below: {_words.symbol(axis.name)})" if axis.name in _ticks.BETAS else ""
    return _ticks.label(axis) + small


def _halo(width: float, colour: str = palette.PAPER, alpha: float = 0.8) -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=colour, alpha=alpha), Normal()]


def _draw_over(axes: Axes, phase_map: PhaseMap) -> None:
    """Curves, window, star and marks first; then their labels, where there is room."""
    for index, curve in enumerate(phase_map.curves):
        points = _scene.line(phase_map, curve)
        for part, colour in zip(_scene.split(phase_map, points), (palette.INK, palette.PAPER), strict=True):
            axes.plot(*part.T, color=colour, lw=1.3, ls=DASHES[index % len(DASHES)])
    found = _scene.recommended(phase_map)
    if found is not None:
        x, y, low, high = found
        style: dict[str, Any] = {"color": palette.INK, "lw": 1.6, "path_effects": _halo(3.6), "zorder": 4}
        axes.plot([x, x], [low, high], marker="_", ms=9, mew=1.6, **style)
        axes.plot(x, y, "*", ms=19, mfc=palette.PAPER, mec=palette.INK, mew=1.4, zorder=6)
    for mark in _scene.marks_inside(phase_map):
        spot = _scene.point(phase_map, mark.x, mark.y)
        axes.plot(*spot, "o", ms=6.5, mfc=palette.PAPER, mec=palette.INK, mew=1.4, zorder=5)
    _draw_labels(axes, phase_map)


def _draw_labels(axes: Axes, phase_map: PhaseMap) -> None:
    figure: Any = axes.figure
    scale, renderer = figure.dpi / 72.0, figure.canvas.get_renderer()
    style: dict[str, Any] = {"fontsize": 8.5, "ha": "center", "va": "center", "parse_math": False, "zorder": 7}

    def measure(text: str, bold: bool) -> tuple[float, float]:
        drawn = axes.text(0, 0, text, fontweight="bold" if bold else "normal", **style)
        box = drawn.get_window_extent(renderer)
        drawn.remove()
        return box.width / scale, box.height / scale

    for each in labels(phase_map, (72 * WIDTH * MAP[2], 72 * HEIGHT * MAP[3]), measure):
        drawn = axes.text(each.x, each.y, each.text, rotation=each.angle, **style)
        drawn.set(color=palette.PAPER if each.dark else palette.INK, fontweight="bold" if each.bold else "normal")
        drawn.set_path_effects(_halo(2.4, palette.RAMPS[2][1], 0.6) if each.dark else _halo(2.4))


def _draw_frame(figure: Figure, phase_map: PhaseMap) -> None:
    left: dict[str, Any] = {"x": MAP[0], "ha": "left", "va": "baseline", "parse_math": False}
    figure.text(y=0.962, s=_words.title(phase_map), fontsize=14, fontweight="bold", color=palette.INK, **left)
    figure.text(y=0.932, s=_words.held(phase_map), fontsize=9.5, color=palette.MUTED, **left)
    figure.text(y=0.022, s=_words.caption(phase_map), fontsize=8, color=palette.MUTED, **left)


class _Panel:
    """The column of text beside the map, written from the top down."""

    def __init__(self, figure: Figure) -> None:
        self.axes = figure.add_axes(PANEL)
        self.axes.set(xlim=(0, 72 * WIDTH * PANEL[2]), ylim=(-72 * HEIGHT * PANEL[3], 0))  # points
        self.axes.axis("off")
        self.y = 0.0

    def draw(self, phase_map: PhaseMap) -> None:
        """Everything there is to say."""
        self._recommendation(phase_map)
        self._legend(phase_map)
        self._marks(phase_map)

    def _write(self, text: str, size: float = 9, colour: str = palette.INK, x: float = 0, **style: Any) -> None:
        self.axes.text(x, self.y, text, fontsize=size, color=colour, va="top", parse_math=False, **style)

    def _head(self, text: str) -> None:
        self._write(text, 8.5, palette.MUTED)
        self.y -= 12.5
        self.axes.plot([0, 208], [self.y, self.y], color=palette.FAINT, lw=0.8)
        self.y -= 7

    def _lines(self, text: str, size: float, colour: str, width: int) -> None:
        import textwrap

        for line in textwrap.wrap(text, width):
            self._write(line, size, colour)
            self.y -= size * 1.42

    def _recommendation(self, phase_map: PhaseMap) -> None:
        found = phase_map.recommendation
        self._head("Recommended")
        if found is None:
            self._lines("No good cell on this map: nothing to recommend.", 9, palette.INK, 40)
        else:
            self._write(_words.headline(phase_map), 13, fontweight="bold")
            self.y -= 21
            self._write(_words.window(phase_map), 9)
            self.y -= 14
            self._lines(found.reason, 8, palette.MUTED, 46)
        self.y -= 16

    def _legend(self, phase_map: PhaseMap) -> None:
        self._head("Score = (final − best) / (initial − best)")
        for verdict, rule in enumerate(_words.verdict_rules(phase_map)):
            ramp = palette.paint(np.full((1, 64), verdict), np.linspace(0, 1, 64)[None])
            self.axes.imshow(ramp, extent=(0, 44, self.y - 10, self.y), aspect="auto", interpolation="bilinear")
            self._write(VERDICTS[verdict], 9, x=52, fontweight="bold")
            self._write(rule, 9, palette.MUTED, x=108)
            self.y -= 17
        if _scene.untrained(phase_map):
            self.axes.plot(22, self.y - 5, "o", ms=2.6, color=palette.INK, alpha=0.6)
            self._write("trained; the others are inferred", 9, palette.MUTED, x=52)
            self.y -= 17
        self.y -= 12

    def _marks(self, phase_map: PhaseMap) -> None:
        if not phase_map.marks:
            return
        self._head("Settings in use")
        for mark in phase_map.marks[:6]:
            colour = palette.MUTED if mark.verdict is None else palette.SOLID[mark.verdict]
            self.axes.plot(4, self.y - 5, "o", ms=6, mfc=colour, mec=palette.INK, mew=0.8)
            self._write(mark.label, 9, x=14)
            self.y -= 12.5
            self._write(_mark_line(mark), 8, palette.MUTED, x=14)
            self.y -= 17


def _mark_line(mark: Any) -> str:
    verdict = _words.standing(mark, VERDICTS)
    near = np.isfinite(mark.distance) and mark.verdict is not None
    return f"{verdict}, {mark.distance:.2f} decades from the boundary" if near else verdict

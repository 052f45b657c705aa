"""The column next to the map: recommendation, legend, settings in use, loss curves."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from betaplane.figures import _curves, _scene, _text, _ticks, palette
from betaplane.maps.grid import distance_units
from betaplane.maps.phase_map import Cell, Mark, PhaseMap
from betaplane.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (0.675, 0.158, 0.31, 0.76)  # left, bottom, width, height, in shares of the figure
MAX_LOSS_POINTS = 170.0  # height of the loss curves
MIN_LOSS_POINTS = 90.0  # free height below which no loss curves are drawn


class Panel:
    """The column of text next to the map, written from the top down."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.axes = figure.add_axes(PANEL)
        self.width, self.height = 72 * figure.get_size_inches() * PANEL[2:]
        self.axes.set(xlim=(0, self.width), ylim=(-self.height, 0))  # points
        self.axes.axis("off")
        self.y = 0.0

    def draw(self, phase_map: PhaseMap) -> None:
        """Draw all parts of the column."""
        self._recommendation(phase_map)
        self._legend(phase_map)
        self._marks(phase_map)
        if self.height + self.y > MIN_LOSS_POINTS:
            self._losses(phase_map)

    def _write(
        self, text: str, size: float = 9, color: str = palette.INK, x: float = 0, **style: Any
    ) -> None:
        self.axes.text(
            x, self.y, text, fontsize=size, color=color, va="top", parse_math=False, **style
        )

    def _head(self, text: str) -> None:
        self._write(text, 8.5, palette.MUTED)
        self.y -= 12.5
        self.axes.plot([0, 208], [self.y, self.y], color=palette.FAINT, lw=0.8)
        self.y -= 7

    def _lines(self, text: str, size: float, color: str, width: int) -> None:
        for line in textwrap.wrap(text, width):
            self._write(line, size, color)
            self.y -= size * 1.42

    def _recommendation(self, phase_map: PhaseMap) -> None:
        recommendation = phase_map.recommendation
        self._head("Recommended" if phase_map.predicted is None else "Predicted")
        if recommendation is None:
            self._lines(_text.no_recommendation(phase_map), 9, palette.INK, 40)
        else:
            self._write(_text.headline(phase_map), 13, fontweight="bold")
            self.y -= 21
            self._write(_text.window(phase_map), 9)
            self.y -= 14
            self._lines(_text.short_reason(recommendation.reason), 8, palette.MUTED, 46)
        self.y -= 11

    def _legend(self, phase_map: PhaseMap) -> None:
        self._head(_text.score(phase_map))
        ramps = _text.ramps(phase_map)
        for verdict, (name, rule) in _text.verdict_rules(phase_map).items():
            shades = np.linspace(0, 1, 64)[None]
            ramp = palette.paint(np.full((1, 64), verdict), shades, ramps)
            self.axes.imshow(
                ramp, extent=(0, 44, self.y - 10, self.y), aspect="auto", interpolation="bilinear"
            )
            self._write(name, 9, x=52, fontweight="bold")
            self._write(rule, 9, palette.MUTED, x=108)
            self.y -= 15.5
        if phase_map.predicted is not None:
            self._lines(phase_map.predicted.limits, 8, palette.MUTED, 46)
        if len(_scene.undecided(phase_map)):
            self.axes.plot(22, self.y - 5, "x", ms=5, mew=1.1, color=palette.INK)
            self._write("undecided", 9, x=52, fontweight="bold")
            self._write("seeds disagree", 9, palette.MUTED, x=122)
            self.y -= 15.5
        self.y -= 10

    def _marks(self, phase_map: PhaseMap) -> None:
        if not phase_map.marks:
            return
        self._head("Settings in use")
        for mark in phase_map.marks[:6]:
            color = _text.chip_color(mark, phase_map)
            self.axes.plot(4, self.y - 5, "o", ms=6, mfc=color, mec=palette.INK, mew=0.8)
            self._write(mark.label, 9, x=14)
            self.y -= 12.5
            self._write(_mark_line(mark, phase_map), 8, palette.MUTED, x=14)
            self.y -= 15.5
        self.y -= 9

    def _losses(self, phase_map: PhaseMap) -> None:
        """Draw the loss curves of the cells named above in the rest of the column."""
        shown = _named_cells(phase_map)
        axis = _curves.axis(phase_map, [cell.curve for _, cell in shown])
        if not shown or axis["ends"] is None:
            return
        self._head(f"{_text.measure(phase_map).capitalize()} over training")
        left = PANEL[0] + 24 / self.width * PANEL[2]
        size = (
            PANEL[2] * (self.width - 90) / self.width,
            PANEL[3] * min(self.height + self.y - 2, MAX_LOSS_POINTS) / self.height,
        )
        bottom = PANEL[1] + PANEL[3] * (1 + (self.y - 2) / self.height) - size[1]
        _draw_losses(self.figure.add_axes((left, bottom, *size)), shown, axis, phase_map)


def _named_cells(phase_map: PhaseMap) -> list[tuple[str, Cell]]:
    """The recommended cell and those nearest to the marks, if they were trained."""
    spots = {}
    if _scene.is_recommended_cell(phase_map):
        spots[phase_map.recommendation.spot] = "recommended"  # pyright: ignore[reportOptionalMemberAccess]
    for mark in _scene.marks_inside(phase_map)[:4]:
        spot = _ticks.nearest(phase_map.x, mark.x), _ticks.nearest(phase_map.y, mark.y)
        spots.setdefault(spot, _text.short_label(mark))
    return [
        (name, phase_map.cells[spot]) for spot, name in spots.items() if spot in phase_map.cells
    ]


def _draw_losses(
    axes: Axes, shown: list[tuple[str, Cell]], axis: dict[str, Any], phase_map: PhaseMap
) -> None:
    low, high = axis["ends"]
    points = max(len(cell.curve) for cell in phase_map.cells.values())
    steps = phase_map.steps or points - 1
    ends = []
    for name, cell in shown:
        loss = np.where(np.isfinite(cell.curve), cell.curve, np.nan)
        loss = np.log10(loss) if axis["log"] else loss
        at = np.arange(len(loss)) / max(points - 1, 1) * steps
        bold = name == "recommended"
        axes.plot(
            at,
            loss,
            color=palette.SOLID[cell.verdict],
            lw=1.9 if bold else 1.2,
            zorder=3 if bold else 2,
        )
        stays = len(loss) and np.isfinite(loss[-1]) and loss[-1] <= high
        ends.append((float(loss[-1]), name, bold) if stays else (high, f"↑ {name}", bold))
    axes.set(xlim=(0, steps), ylim=(low, high))
    _loss_ticks(axes, axis, phase_map)
    _name_ends(axes, ends)


def _loss_ticks(axes: Axes, axis: dict[str, Any], phase_map: PhaseMap) -> None:
    low, high = axis["ends"]
    if axis["log"]:
        decades = np.arange(np.ceil(low), np.floor(high) + 1)
        axes.set_yticks(decades, [f"{10.0**decade:g}" for decade in decades])
    else:
        axes.locator_params(axis="y", nbins=4)
    steps = axes.get_xlim()[1]
    axes.set_xticks([0, steps], ["0", plural(int(steps), "step")])
    axes.get_xticklabels()[1].set_horizontalalignment("right")
    axes.tick_params(length=2.5, labelsize=7, color=palette.MUTED, labelcolor=palette.MUTED, pad=2)
    good, failing = (palette.SOLID[0], palette.SOLID[2])
    # there are no levels if batch size is an axis
    for level, color in zip(axis["levels"], (good, failing), strict=False):
        axes.axhline(
            np.log10(level) if axis["log"] else level,
            color=color,
            lw=0.7,
            ls=(0, (3, 3)),
            alpha=0.7,
        )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=palette.MUTED, linewidth=0.6)


def _name_ends(axes: Axes, ends: list[tuple[float, str, bool]]) -> None:
    """Write the name of each curve at its end, moved if two would collide."""
    low, high = axes.get_ylim()
    ends = sorted(ends)
    heights = _apart([loss for loss, _, _ in ends], 0.1 * (high - low), high)
    for height, (_, name, bold) in zip(heights, ends, strict=True):
        spot, weight = (axes.get_xlim()[1], height), "bold" if bold else "normal"
        axes.annotate(
            name,
            spot,
            (4, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            fontweight=weight,
        )


def _apart(heights: list[float], gap: float, most: float) -> list[float]:
    """Ascending heights moved so that they are a gap apart and at most `most`.

    Example:
        >>> _apart([1.0, 1.0, 8.0, 8.0], 1.0, 8.0)
        [1.0, 2.0, 7.0, 8.0]
    """
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], heights[i + 1] - gap if i + 1 < len(heights) else most)
    return heights


def _mark_line(mark: Mark, phase_map: PhaseMap) -> str:
    verdict = _text.verdict_name(mark, phase_map.verdict_names)
    near = np.isfinite(mark.distance) and mark.verdict is not None
    units = distance_units(phase_map.x, phase_map.y)[1]
    return f"{verdict}, {mark.distance:.2f} {units} from the boundary" if near else verdict

"""The map in the terminal, in colors and in glyphs that show the same verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betaplane.figures import _scene, _text, _ticks, palette
from betaplane.figures._torch_line import torch_line
from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import FAILING, PhaseMap, Spot

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.style import Style
    from rich.text import Text

GLYPHS = ("·", "▒", "█")  # good, degraded, failing: darker is worse
ASCII_GLYPHS = (".", "+", "#")
GLYPH_BRIGHTNESS = (0.78, 0.86, 1.0)  # per verdict, relative to the cell
STARS = ("★", "*")  # the recommended cell, with and without Unicode
LETTERS = "abcdefgh"  # for the marks
MARGIN = 15  # columns left of the map, for the horizon and the beta
MAX_COLUMNS = 84  # of the map without its margin
MAX_ROWS = 40  # of the map; with more cells, each row shows the worst of several


def terminal(phase_map: PhaseMap) -> RenderableType:
    """The map as a renderable of rich, at most 100 columns wide.

    Args:
        phase_map: the map.

    Returns:
        A renderable for `rich.print` or a `rich.console.Console`.
    """
    return _Map(phase_map)


def summary(phase_map: PhaseMap) -> RenderableType:
    """The recommendation, the settings in use and the data behind the map, as a renderable."""
    return _Summary(phase_map)


@dataclass(frozen=True)
class _Summary:
    """Renders the summary for the encoding of a console."""

    phase_map: PhaseMap

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        convert = _text.to_ascii if options.ascii_only else str
        yield from self._recommendation(convert)
        yield Text()
        if self.phase_map.marks:
            yield self._marks(convert, options.ascii_only)
        if self.phase_map.predicted is not None:
            yield Text(self.phase_map.predicted.limits, style="bold")
        yield Text(convert(_text.caption(self.phase_map)), style="dim")
        if why := self.phase_map.facts.get("why plain"):
            yield Text(convert(f"trained one run at a time: {why}"), style="dim")

    def _recommendation(self, convert: Callable[[str], str]) -> Iterator[Text]:
        from rich.text import Text

        recommendation = self.phase_map.recommendation
        if recommendation is None:
            yield Text(convert(_text.no_recommendation(self.phase_map)), "bold")
            return
        yield Text.assemble(
            ("Recommended  ", "dim"), (convert(_text.headline(self.phase_map)), "bold")
        )
        yield Text.assemble(("Window       ", "dim"), convert(_text.window(self.phase_map)))
        yield Text.assemble(
            ("Why          ", "dim"), convert(_text.short_reason(recommendation.reason))
        )
        yield Text.assemble(("Write        ", "dim"), torch_line(self.phase_map))
        for note in recommendation.notes:
            yield Text.assemble(("Note         ", "dim"), note)

    def _marks(self, convert: Callable[[str], str], ascii_only: bool) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        heads = ("", "setting", "verdict", "distance to the boundary")
        table = Table(
            *heads, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="dim"
        )
        letters = _letters(self.phase_map)
        for mark in self.phase_map.marks:
            away = "-" if mark.verdict is None else _text.distance(mark.distance, self.phase_map)
            standing = Text(
                _text.verdict_name(mark, self.phase_map.verdict_names),
                "dim" if mark.verdict is None else "bold",
            )
            if mark.verdict is not None:
                glyphs = ASCII_GLYPHS if ascii_only else GLYPHS
                standing = Text.assemble(
                    (glyphs[mark.verdict] * 2, _style(mark.verdict, 0.4, self.phase_map)),
                    " ",
                    standing,
                )
            table.add_row(
                letters.get(mark.label, ""), Text(convert(mark.label)), standing, Text(away)
            )
        return table


def _letters(phase_map: PhaseMap) -> dict[str, str]:
    return dict(zip([mark.label for mark in _scene.marks_inside(phase_map)], LETTERS, strict=False))


def _symbols(phase_map: PhaseMap, star: str) -> dict[Spot, str]:
    """Letters of marks and the star, by cell."""
    letters = _letters(phase_map)
    inside = [mark for mark in _scene.marks_inside(phase_map) if mark.label in letters]
    symbols = {
        (_ticks.nearest(phase_map.x, mark.x), _ticks.nearest(phase_map.y, mark.y)): letters[
            mark.label
        ]
        for mark in reversed(inside)
    }
    if phase_map.recommendation is not None:
        symbols[phase_map.recommendation.spot] = star
    return symbols


@dataclass(frozen=True)
class _Map:
    """Renders the map for the width and the encoding of a console."""

    phase_map: PhaseMap

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        sheet = _Sheet(self.phase_map, options.max_width, options.ascii_only)
        for line in sheet.lines():
            line.no_wrap, line.overflow = True, "crop"
            if options.ascii_only:
                line.plain = _text.to_ascii(line.plain)
            yield line
        yield Text()


class _Sheet:
    """The map scaled to a console: columns per cell, and cells merged into one place."""

    def __init__(self, phase_map: PhaseMap, width: int, ascii_only: bool) -> None:
        self.phase_map = phase_map
        self.ascii_only = ascii_only
        self.glyphs = ASCII_GLYPHS if ascii_only else GLYPHS
        columns, rows = phase_map.verdicts.shape
        room = max(min(MAX_COLUMNS, width - MARGIN - 1), 1)
        self.merge_y = -(-rows // MAX_ROWS)
        self.merge_x = -(-columns // room)
        wanted = round(2 * rows / self.merge_y / columns)
        self.cell = int(np.clip(wanted, 1, max(1, min(6, room * self.merge_x // columns))))
        self.symbols = {
            self._block(spot): text for spot, text in _symbols(phase_map, STARS[ascii_only]).items()
        }
        self.verdicts, shades = self._merged()
        self.styles = [
            [_style(*place, phase_map) for place in zip(*pair, strict=True)]
            for pair in zip(self.verdicts, shades, strict=True)
        ]

    def _block(self, spot: Spot) -> Spot:
        return spot[0] // self.merge_x, spot[1] // self.merge_y

    def _merged(self) -> tuple[np.ndarray, np.ndarray]:
        """Verdict and shade of the worst cell of each place."""
        worst = self.phase_map.verdicts + 0.999 * _scene.shades(self.phase_map)
        for side, by in enumerate((self.merge_x, self.merge_y)):
            worst = np.maximum.reduceat(worst, np.arange(0, worst.shape[side], by), axis=side)
        return worst.astype(int), worst % 1.0

    def lines(self) -> Iterator[Text]:
        """The lines of the title, the map, the ticks and the legend."""
        from rich.text import Text

        yield Text(_text.title(self.phase_map), "bold")
        yield Text(_text.fixed_settings(self.phase_map) + "\n", "dim")
        yield Text(_axis_label(self.phase_map.y, "next to"), "dim")
        ticks = self._ticks("y")
        for row in reversed(range(self.verdicts.shape[1])):
            yield self._row(row, *ticks.get(row, ("", "")))
        yield from self._below()
        yield Text()
        yield self._legend()
        yield from self._notes()

    def _ticks(self, side: str) -> dict[int, tuple[str, str]]:
        axis, by = (
            (self.phase_map.x, self.merge_x) if side == "x" else (self.phase_map.y, self.merge_y)
        )
        return {
            int(np.argmin(np.abs(axis.positions - tick.position))) // by: (tick.text, tick.below)
            for tick in reversed(_ticks.ticks(axis))
        }

    def _row(self, row: int, text: str, below: str) -> Text:
        from rich.style import Style
        from rich.text import Text

        line = Text(f"{text:>{MARGIN - 8 if below else MARGIN - 1}} ").append(
            f"{below:>6} " if below else "", "dim"
        )
        for column, verdict in enumerate(self.verdicts[:, row]):
            style = self.styles[column][row]
            symbol = self.symbols.get((column, row))
            if symbol is None:
                line.append(self.glyphs[verdict] * self.cell, style)
            else:
                ink = palette.PAPER if verdict == FAILING else palette.INK
                line.append(
                    symbol.center(self.cell, self.glyphs[verdict]),
                    style + Style(color=ink, bold=True),
                )
        return line

    def _below(self) -> Iterator[Text]:
        """The lines of the x ticks: positions, horizons, betas and the name of the axis."""
        from rich.text import Text

        size = self.verdicts.shape[0] * self.cell
        rows = [[" "] * (size + 8) for _ in range(3)]
        free = 0
        for place, (text, below) in sorted(self._ticks("x").items()):
            middle = place * self.cell + (self.cell - 1) // 2
            rows[0][middle] = "|" if self.ascii_only else "╵"
            start = max(middle - len(max(text, below, key=len)) // 2, 0)
            if start < free:
                continue
            for row, label in ((1, text), (2, below)):
                begin = max(middle - len(label) // 2, 0)
                rows[row][begin : begin + len(label)] = label
            free = middle + len(max(text, below, key=len)) // 2 + 2
        margin = " " * MARGIN
        for row, style in zip(rows, ("dim", "", "dim"), strict=True):
            if "".join(row).strip():
                yield Text(margin + "".join(row).rstrip(), style)
        yield Text(margin + _axis_label(self.phase_map.x, "below"), "dim")

    def _legend(self) -> Text:
        from rich.text import Text

        line = Text(" " * MARGIN)
        for verdict, (name, rule) in _text.verdict_rules(self.phase_map).items():
            line.append(self.glyphs[verdict] * 2, _style(verdict, 0.4, self.phase_map))
            line.append(f" {name} ", "bold").append(f"{rule}   ", "dim")
        line.rstrip()
        return line

    def _notes(self) -> Iterator[Text]:
        from rich.text import Text

        margin = " " * MARGIN
        notes = [f"{letter} {label}" for label, letter in _letters(self.phase_map).items()]
        if self.phase_map.recommendation is not None:
            notes.insert(
                0, f"{STARS[self.ascii_only]} recommended: {_text.headline(self.phase_map)}"
            )
        for note in notes:
            yield Text(margin + note)
        if max(self.merge_x, self.merge_y) > 1:
            yield Text(
                f"{margin}each place shows the worst of {self.merge_x} x {self.merge_y} cells",
                "dim",
            )


def _style(verdict: int, shade: float, phase_map: PhaseMap) -> Style:
    """The color of a cell as background, and the same color, darker, for its glyph."""
    from rich.style import Style

    behind = palette.paint(np.array(verdict), np.array(shade), _text.ramps(phase_map))
    return Style(
        color=palette.hexadecimal(behind * GLYPH_BRIGHTNESS[verdict]),
        bgcolor=palette.hexadecimal(behind),
    )


def _axis_label(axis: Axis, position: str) -> str:
    name = axis.name
    if not axis.horizons:
        return _text.symbol(name)
    return f"horizon 1/(1-{_text.symbol(name)}) in steps, {_text.symbol(name)} {position} it"

"""The labels of a map and their places, the same in the picture and on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from betaplane.figures import _scene, _text, _ticks
from betaplane.figures._labels import Box, along, around, beside
from betaplane.maps.phase_map import PhaseMap

STAR_PIXELS = 5.0  # by which the star is larger than a mark
PAD_PIXELS = 4.0  # between labels and the frame
ALIGN = ("center", "left", "right")  # by a box's side: 0, 1, -1
Measure = Callable[[str, bool], tuple[float, float]]  # width and height of a text, plain or bold


@dataclass(frozen=True)
class Label:
    """A text on the map."""

    text: str
    x: float  # in positions: its left end, right end or center, by `align`
    y: float
    align: str  # "left", "right" or "center"
    angle: float  # degrees, counterclockwise
    bold: bool
    dark: bool  # whether it is on failing cells, where text is white


def labels(phase_map: PhaseMap, size: tuple[float, float], measure: Measure) -> list[Label]:
    """The labels of the recommendation, the marks and the curves, kept apart.

    Args:
        phase_map: the map.
        size: width and height of the map, in the unit of `measure` (pixels or points).
        measure: returns the width and height of a text.
    """
    return _Layout(phase_map, size, measure).labels()


class _Layout:
    """Places one label after another and records the occupied boxes."""

    def __init__(self, phase_map: PhaseMap, size: tuple[float, float], measure: Measure) -> None:
        self.phase_map, self.measure = phase_map, measure
        ends = np.array([_ticks.edges(axis)[[0, -1]] for axis in (phase_map.x, phase_map.y)])
        self.corner, self.scale = ends[:, 0], np.array(size) / (ends[:, 1] - ends[:, 0])
        self.frame = Box(PAD_PIXELS, PAD_PIXELS, size[0] - PAD_PIXELS, size[1] - PAD_PIXELS)
        self.taken: list[Box] = []

    def labels(self) -> list[Label]:
        """All labels; the most important one is placed first."""
        marks = _scene.marks_inside(self.phase_map)
        spots = [_scene.point(self.phase_map, mark.x, mark.y) for mark in marks]
        lines = [_scene.line(self.phase_map, curve) for curve in self.phase_map.curves]
        self._take(spots, lines)
        star = _scene.recommended(self.phase_map)
        placed = [self._beside(star[:2], "recommended", True, STAR_PIXELS)] if star else []
        placed += [
            self._beside(spot, _text.short_label(mark), False)
            for mark, spot in zip(marks, spots, strict=True)
        ]
        texts = [_text.with_symbols(curve.label) for curve in self.phase_map.curves]
        following = [self._along(line, text) for line, text in zip(lines, texts, strict=True)]
        return placed + [label for label in following if label is not None]

    def _take(self, spots: list[tuple[float, float]], lines: list[np.ndarray]) -> None:
        """Keep labels off the curves, the marks, the star and its window."""
        for line in lines:
            self.taken += [around(x, y, 2.5) for x, y in self._pixels(line) if np.isfinite(x + y)]
        self.taken += [around(*self._pixel(spot), 6, weight=6) for spot in spots]
        star = _scene.recommended(self.phase_map)
        if star is not None:
            x, low = self._pixel((star[0], star[2]))
            _, high = self._pixel((star[0], star[3]))
            self.taken.append(Box(x - 5, low, x + 5, high, weight=3))
            self.taken.append(around(*self._pixel(star[:2]), 9, weight=6))

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return (points - self.corner) * self.scale

    def _pixel(self, spot: tuple[float, float]) -> tuple[float, float]:
        x, y = self._pixels(np.array(spot))
        return float(x), float(y)

    def _beside(
        self, spot: tuple[float, float], text: str, bold: bool, radius: float = 0.0
    ) -> Label:
        box = beside(self._pixel(spot), self.measure(text, bold), self.frame, self.taken, radius)
        return self._label(text, box, 0.0, bold)

    def _along(self, points: np.ndarray, text: str) -> Label | None:
        place = along(self._pixels(points), self.measure(text, False), self.frame, self.taken)
        return None if place is None else self._label(text, place.box, place.angle, False)

    def _label(self, text: str, box: Box, angle: float, bold: bool) -> Label:
        self.taken.append(Box(box.left, box.bottom, box.right, box.top, weight=6))
        middle = np.array(box.middle) / self.scale + self.corner
        dark = bool(_scene.on_failing(self.phase_map, middle[None])[0])
        end = (box.middle[0], box.left, box.right)[box.side] / self.scale[0] + self.corner[0]
        return Label(text, float(end), float(middle[1]), ALIGN[box.side], angle, bold, dark)

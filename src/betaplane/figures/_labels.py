"""Place labels next to points and along lines without collisions; in pixels, y upwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
RESAMPLED_PIXELS = 4.0  # between the points of a resampled line
GAP_PIXELS = (9.0, 20.0, 36.0)  # between a point and its label


@dataclass(frozen=True)
class Box:
    """A rectangle that is occupied."""

    left: float
    bottom: float
    right: float
    top: float
    weight: float = 1.0  # cost per square pixel of a label on it
    # side of the point on which a label is: 1 right, -1 left, 0 above or below
    side: int = 0

    @property
    def middle(self) -> tuple[float, float]:
        """The coordinates of its center."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2


@dataclass(frozen=True)
class Along:
    """A label that follows a line."""

    x: float  # its center
    y: float
    angle: float  # degrees, counterclockwise, in [-90, 90)
    box: Box


def around(x: float, y: float, radius: float, weight: float = 1.0) -> Box:
    """The box around a point."""
    return Box(x - radius, y - radius, x + radius, y + radius, weight)


def beside(
    anchor: tuple[float, float],
    size: tuple[float, float],
    frame: Box,
    taken: Sequence[Box],
    radius: float = 0.0,
) -> Box:
    """The best box for a label near its anchor, on one of eight sides at one of three distances."""
    boxes = [_at(anchor, size, side, gap + radius) for gap in GAP_PIXELS for side in SIDES]
    costs = _costs(boxes, frame, taken) + 5.0 * np.arange(len(boxes))
    return boxes[int(np.argmin(costs))]


def _at(
    anchor: tuple[float, float], size: tuple[float, float], side: tuple[int, int], gap: float
) -> Box:
    reach = gap if 0 in side else gap * 0.7
    left = anchor[0] + side[0] * (reach + size[0] / 2) - size[0] / 2
    bottom = anchor[1] + side[1] * (reach + size[1] / 2) - size[1] / 2
    return Box(left, bottom, left + size[0], bottom + size[1], side=side[0])


def _costs(boxes: Sequence[Box], frame: Box, taken: Sequence[Box]) -> np.ndarray:
    """The cost of each box in square pixels: its parts outside the frame and on occupied boxes."""
    these = _array(boxes)
    areas = (these[:, 2] - these[:, 0]) * (these[:, 3] - these[:, 1])
    outside = areas - _overlaps(these, _array([frame]))[:, 0]
    others = _array(taken)
    return 20.0 * outside + _overlaps(these, others) @ others[:, 4]


def _array(boxes: Sequence[Box]) -> np.ndarray:
    return np.array(
        [(box.left, box.bottom, box.right, box.top, box.weight) for box in boxes]
    ).reshape(-1, 5)


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared areas of boxes, shape (len(a), len(b))."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    return np.clip(high - low, 0.0, None).prod(-1)


def along(
    points: np.ndarray, size: tuple[float, float], frame: Box, taken: Sequence[Box]
) -> Along | None:
    """The best place for a label along a line of points (k, 2).

    None if the part of the line in the frame is too short.
    """
    dense = _dense(points)
    low, high = (frame.left, frame.bottom), (frame.right, frame.top)
    if ((dense >= low) & (dense <= high)).all(axis=1).sum() * RESAMPLED_PIXELS < 0.6 * size[0]:
        return None
    tries = [
        _along(dense, index, size, side)
        for index in range(1, len(dense) - 1, 3)
        for side in (1, -1)
    ]
    bends = np.array([_bend(dense, label, size) for label in tries])
    costs = _costs([label.box for label in tries], frame, taken) + 0.1 * size[0] * bends
    return tries[int(np.argmin(costs))] if tries else None


def _dense(points: np.ndarray) -> np.ndarray:
    """The longest unbroken part of a line, resampled to one point each few pixels."""
    broken = ~np.isfinite(points).all(axis=1)
    groups = np.split(points, np.flatnonzero(broken))
    parts = [group[np.isfinite(group).all(axis=1)] for group in groups]
    part = max(parts, key=len, default=points[:0])
    if len(part) < 2:
        return part
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(part, axis=0).T))])
    stops = np.arange(0.0, travelled[-1], RESAMPLED_PIXELS)
    return np.column_stack([np.interp(stops, travelled, part[:, side]) for side in (0, 1)])


def _along(dense: np.ndarray, index: int, size: tuple[float, float], side: int) -> Along:
    reach = max(2, int(size[0] / (2 * RESAMPLED_PIXELS)))
    start, end = dense[max(index - reach, 0)], dense[min(index + reach, len(dense) - 1)]
    slope = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    angle = (slope + 90.0) % 180.0 - 90.0
    turn = math.radians(angle)
    away = side * (size[1] / 2 + 3.0)
    x, y = dense[index] + away * np.array([-math.sin(turn), math.cos(turn)])
    wide = (abs(math.cos(turn)) * size[0] + abs(math.sin(turn)) * size[1]) / 2
    high = (abs(math.sin(turn)) * size[0] + abs(math.cos(turn)) * size[1]) / 2
    return Along(float(x), float(y), angle, Box(x - wide, y - high, x + wide, y + high))


def _bend(dense: np.ndarray, label: Along, size: tuple[float, float]) -> int:
    """Number of points of the line that cross its own label, since the label is straight."""
    turn = math.radians(label.angle)
    away = dense - np.array([label.x, label.y])
    lengthwise = away @ np.array([math.cos(turn), math.sin(turn)])
    across = away @ np.array([-math.sin(turn), math.cos(turn)])
    return int(((np.abs(lengthwise) < size[0] / 2 + 2) & (np.abs(across) < size[1] / 2 + 1)).sum())

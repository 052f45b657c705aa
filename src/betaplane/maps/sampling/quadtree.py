"""A quadtree over an integer grid: the cells it still lacks, and the boxes that stay unsplit.

The functions keep no state. The tree is walked again from the known verdicts, so it cannot depend
on the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNKNOWN = -1  # in `seen`: not trained yet

# Boxes are int arrays (k, 4), each row x0, x1, y0, y1: the closed rectangle of cells x0..x1 by
# y0..y1. `seen` is an int array (nx, ny) of verdicts, UNKNOWN if a cell was not trained.


def start_lines(points: int, start: int) -> np.ndarray:
    """The indices of the coarse start grid, of 0..points-1: at most `start`, about 3 apart or more.

    At least 3, so that no region is inferred from the corners of a small grid alone.

    Example:
        >>> start_lines(64, 9).tolist(), start_lines(7, 9).tolist(), start_lines(1, 9).tolist()
        ([0, 8, 16, 24, 32, 39, 47, 55, 63], [0, 3, 6], [0])
        >>> start_lines(5, 9).tolist()
        [0, 2, 4]
    """
    gaps = max(min(2, points - 1), min(start - 1, (points - 1) // 3))
    return np.unique(np.linspace(0, points - 1, gaps + 1).round().astype(int))


def start_cells(shape: tuple[int, int], start: int) -> int:
    """The number of cells of the start grid."""
    return len(start_lines(shape[0], start)) * len(start_lines(shape[1], start))


def roots(shape: tuple[int, int], start: int) -> np.ndarray:
    """The boxes of the start grid, (k, 4)."""
    (x0, x1), (y0, y1) = (_gaps(start_lines(points, start)) for points in shape)
    rows = [
        np.repeat(x0, len(y0)),
        np.repeat(x1, len(y0)),
        np.tile(y0, len(x0)),
        np.tile(y1, len(x0)),
    ]
    return np.stack(rows, axis=1)


def _gaps(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (lines[:-1], lines[1:]) if len(lines) > 1 else (lines, lines)


def corners(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The x and the y index of each box's four corners, both (k, 4)."""
    return boxes[:, [0, 0, 1, 1]], boxes[:, [2, 3, 2, 3]]


def split(boxes: np.ndarray) -> np.ndarray:
    """The children of each box, at most four; an axis on which a box is one step wide is not
    halved.

    Example:
        >>> split(np.array([[0, 4, 0, 1]])).tolist()
        [[0, 2, 0, 1], [2, 4, 0, 1]]
    """
    for low, high in ((0, 1), (2, 3)):
        wide = boxes[:, high] - boxes[:, low] > 1
        left, right = boxes[wide].copy(), boxes[wide].copy()
        left[:, high] = right[:, low] = (left[:, low] + left[:, high]) // 2
        boxes = np.concatenate([boxes[~wide], left, right])
    return boxes


def levels(seen: np.ndarray, start: int, guard: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walk the tree level by level.

    A box is split if the known verdicts in it differ; with `guard`, also if they differ within the
    ring of boxes of its size around it. Boxes with an untrained corner wait.

    Args:
        seen: (nx, ny), verdicts; UNKNOWN if not trained.
        start: points per side of the start grid.
        guard: whether the ring around a box counts.

    Yields:
        `missing` (m, 2), the cells that the tree lacks at this level, unique and sorted; `leaves`
        (k, 4), boxes with known corners that are not split.
    """
    sums = _sums(seen)
    boxes = roots((seen.shape[0], seen.shape[1]), start)
    while len(boxes):
        x, y = corners(boxes)
        unknown = seen[x, y] == UNKNOWN
        missing = np.unique(np.stack([x[unknown], y[unknown]], axis=1), axis=0)
        ready = boxes[~unknown.any(axis=1)]
        wide = (ready[:, 1] - ready[:, 0] > 1) | (ready[:, 3] - ready[:, 2] > 1)
        divided = mixed(ready, sums, guard) & wide
        yield missing, ready[~divided]
        boxes = split(ready[divided])


def _sums(seen: np.ndarray) -> np.ndarray:
    """How often each verdict occurs in 0..x-1 by 0..y-1, (verdicts, nx + 1, ny + 1).

    Four of these numbers give the count in any box.
    """
    verdicts = np.unique(seen[seen != UNKNOWN])
    counts = (seen[None] == verdicts[:, None, None]).cumsum(axis=1).cumsum(axis=2)
    return np.pad(counts, ((0, 0), (1, 0), (1, 0)))


def mixed(boxes: np.ndarray, sums: np.ndarray, guard: bool) -> np.ndarray:
    """Whether the known verdicts in each box (with `guard`, also in the ring around it) differ,
    bool (k,).
    """
    nx, ny = sums.shape[1] - 1, sums.shape[2] - 1
    x0, x1, y0, y1 = boxes.T
    dx, dy = (x1 - x0, y1 - y0) if guard else (0, 0)
    x0, x1 = np.maximum(x0 - dx, 0), np.minimum(x1 + dx, nx - 1) + 1
    y0, y1 = np.maximum(y0 - dy, 0), np.minimum(y1 + dy, ny - 1) + 1
    counts = sums[:, x1, y1] - sums[:, x0, y1] - sums[:, x1, y0] + sums[:, x0, y0]
    return (counts > 0).sum(axis=0) > 1

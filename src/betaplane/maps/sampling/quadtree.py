"""A quadtree over an integer grid: which spots it still misses, which of its boxes are settled.

Nothing here remembers anything: the tree is walked anew from what is known, so it cannot depend on
the order in which verdicts came in.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNKNOWN = -1  # in `seen`: not trained yet

# Boxes are int arrays (k, 4), a row x0, x1, y0, y1: the closed rectangle of grid spots x0..x1 by
# y0..y1. `seen` is an int array (nx, ny) of verdicts, UNKNOWN where nothing was trained.


def start_lines(points: int, start: int) -> np.ndarray:
    """The indices, of 0..points-1, that the coarse start grid takes: at most `start`, about 3 apart
    or more.

    Example:
        >>> start_lines(64, 9).tolist(), start_lines(7, 9).tolist(), start_lines(1, 9).tolist()
        ([0, 8, 16, 24, 32, 39, 47, 55, 63], [0, 3, 6], [0])
    """
    gaps = max(1, min(start - 1, (points - 1) // 3))
    return np.unique(np.linspace(0, points - 1, gaps + 1).round().astype(int))


def start_cells(shape: tuple[int, int], start: int) -> int:
    """How many cells the start grid has."""
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
    """The up to four children of each box; an axis on which a box is one step wide is not halved.

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
    """Walk the tree level by level: (spots it misses at this level, its boxes that stay unsplit).

    A box is split when the verdicts known within its reach differ: within the box itself or, with `guard`, within the
    ring of boxes of its size around it too. Boxes with an untrained corner wait.

    Yields:
        `missing` (m, 2) spots, unique and sorted; `leaves` (k, 4), boxes with known corners that are not split.
    """
    sums = _sums(seen)
    boxes = roots((seen.shape[0], seen.shape[1]), start)
    while len(boxes):
        x, y = corners(boxes)
        unknown = seen[x, y] == UNKNOWN
        missing = np.unique(np.stack([x[unknown], y[unknown]], axis=1), axis=0)
        ready = boxes[~unknown.any(axis=1)]
        parted = mixed(ready, sums, guard) & (
            (ready[:, 1] - ready[:, 0] > 1) | (ready[:, 3] - ready[:, 2] > 1)
        )
        yield missing, ready[~parted]
        boxes = split(ready[parted])


def _sums(seen: np.ndarray) -> np.ndarray:
    """How often each verdict occurs in 0..x-1 by 0..y-1, (verdicts, nx + 1, ny + 1): any box's
    counts in 4 look-ups.
    """
    kinds = np.unique(seen[seen != UNKNOWN])
    counts = (seen[None] == kinds[:, None, None]).cumsum(axis=1).cumsum(axis=2)
    return np.pad(counts, ((0, 0), (1, 0), (1, 0)))


def mixed(boxes: np.ndarray, sums: np.ndarray, guard: bool) -> np.ndarray:
    """Whether the verdicts known in each box (and, with `guard`, in the ring around it) differ,
    (k,) of bool.
    """
    nx, ny = sums.shape[1] - 1, sums.shape[2] - 1
    x0, x1, y0, y1 = boxes.T
    dx, dy = (x1 - x0, y1 - y0) if guard else (0, 0)
    x0, x1 = np.maximum(x0 - dx, 0), np.minimum(x1 + dx, nx - 1) + 1
    y0, y1 = np.maximum(y0 - dy, 0), np.minimum(y1 + dy, ny - 1) + 1
    counts = sums[:, x1, y1] - sums[:, x0, y1] - sums[:, x1, y0] + sums[:, x0, y0]
    return (counts > 0).sum(axis=0) > 1

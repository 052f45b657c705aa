"""Judge every cell of the grid from the trained ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from betaplane.maps.choose_tree import UNKNOWN, levels
from betaplane.maps.phase_map import Spot

CHUNK = 4096  # cells whose nearest trained spot is looked up at once: bounds the memory


def fill(shape: tuple[int, int], verdicts: Mapping[Spot, int], *, start: int = 9) -> np.ndarray:
    """The verdict of every cell of the grid, from the trained ones.

    A trained cell keeps its verdict. A cell inside a quadtree box takes the verdict of the trained spots of that box
    where they agree, and otherwise that of the nearest trained spot (the first in index order of equally near ones).

    Args:
        shape: (nx, ny), cells of the grid.
        verdicts: verdict of each trained spot, at least one.
        start: points a side of the start grid, as given to `Refine`.

    Returns:
        int8 array (nx, ny).

    Example:
        >>> fill((3, 4), {(0, 0): 0, (0, 3): 2, (2, 0): 0, (2, 3): 2}).tolist()
        [[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]
    """
    seen = np.full(shape, UNKNOWN, np.int8)
    for spot, verdict in verdicts.items():
        seen[spot] = verdict
    filled = nearest(seen)
    for _, leaves in levels(seen, start, guard=False):
        for x0, x1, y0, y1 in leaves:
            filled[x0 : x1 + 1, y0 : y1 + 1] = np.where(
                seen[x0 : x1 + 1, y0 : y1 + 1] == UNKNOWN, seen[x0, y0], filled[x0 : x1 + 1, y0 : y1 + 1]
            )
    return filled


def nearest(seen: np.ndarray) -> np.ndarray:
    """Each cell's verdict or, where it is UNKNOWN, that of the nearest known cell; like `seen`, (nx, ny).

    Example:
        >>> nearest(np.array([[0, -1, -1, 2]])).tolist()
        [[0, 0, 2, 2]]
    """
    known, unknown = np.argwhere(seen != UNKNOWN), np.argwhere(seen == UNKNOWN)
    filled = seen.copy()
    for some in np.split(unknown, range(CHUNK, len(unknown), CHUNK)):
        square = ((some[:, None, :] - known[None, :, :]) ** 2).sum(axis=2)
        spot = known[square.argmin(axis=1)]
        filled[some[:, 0], some[:, 1]] = seen[spot[:, 0], spot[:, 1]]
    return filled

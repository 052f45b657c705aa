"""Infer the verdict of every cell from the trained ones: `fill` copies verdicts, `fill_by_surface`
fits a probability surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, Spot
from betaplane.maps.sampling.gaussian_process import p_fail
from betaplane.maps.sampling.quadtree import UNKNOWN, levels

CELLS_AT_ONCE = 4096  # whose nearest trained cell is searched at once; bounds the memory


def fill(shape: tuple[int, int], verdicts: Mapping[Spot, int], *, start: int = 9) -> np.ndarray:
    """The verdict of every cell of the grid, from the trained ones.

    A trained cell keeps its verdict. A cell inside a quadtree box takes the verdict of the trained
    cells of that box if they agree, and otherwise that of the nearest trained cell (the first in
    index order of equally near ones).

    Args:
        shape: (nx, ny), cells of the grid.
        verdicts: verdict of each trained cell, at least one.
        start: points per side of the start grid; use `Refine.start`.

    Returns:
        int8 array (nx, ny).

    Example:
        >>> fill((3, 4), {(0, 0): 0, (0, 3): 2, (2, 0): 0, (2, 3): 2}).tolist()
        [[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]
    """
    _check(shape, verdicts)
    seen = np.full(shape, UNKNOWN, np.int8)
    for spot, verdict in verdicts.items():
        seen[spot] = verdict
    filled = nearest(seen)
    for _, leaves in levels(seen, start, guard=False):
        for x0, x1, y0, y1 in leaves:
            filled[x0 : x1 + 1, y0 : y1 + 1] = np.where(
                seen[x0 : x1 + 1, y0 : y1 + 1] == UNKNOWN,
                seen[x0, y0],
                filled[x0 : x1 + 1, y0 : y1 + 1],
            )
    return filled


def fill_by_surface(
    shape: tuple[int, int], votes: Mapping[Spot, Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable verdict and P(fail) of every cell of the grid, from the verdicts of all
    seeds at the trained ones.

    Two surfaces (`gaussian_process`) are fitted to the votes: P(degraded or failing) and
    P(failing). A cell is failing if the second is above one half, else degraded if the first is,
    else good. So a single vote among many others does not decide about its own cell. If no seeds
    disagree and refinement reached the single cell, `fill` is exact and faster.

    Args:
        shape: (nx, ny), cells of the grid.
        votes: verdicts of the seeds of each trained cell, at least one cell and one seed per cell.

    Returns:
        Verdicts, int8 (nx, ny), and P(fail) in [0, 1], float (nx, ny).

    Example:
        >>> votes = {(x, y): [2 if x < 3 else 0] * 2 for x in range(1, 8, 2) for y in range(0, 8, 2)}
        >>> verdicts, p_fail = fill_by_surface((8, 8), votes)
        >>> verdicts[:, 4].tolist(), p_fail[:, 4].round(1).tolist()
        ([2, 2, 2, 0, 0, 0, 0, 0], [1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    """
    _check(shape, votes)
    cells = np.indices(shape).reshape(2, -1).T.astype(float)
    verdicts, failing = judge_places(votes, cells)
    return verdicts.reshape(shape), failing.reshape(shape)


def judge_places(
    votes: Mapping[Any, Sequence[int]], where: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable verdict and P(fail) at places, as in `fill_by_surface`.

    Args:
        votes: verdicts of the seeds at each trained place: a cell, or positions on both axes.
        where: (m, 2), the places to judge.

    Returns:
        Verdicts, int8 (m,), and P(fail) in [0, 1], float (m,).
    """
    points = np.array(sorted(votes), float)
    trials = np.array([len(votes[place]) for place in sorted(votes)])

    def p_at_least(cut: int) -> np.ndarray:
        over = np.array([sum(vote >= cut for vote in votes[place]) for place in sorted(votes)])
        return p_fail(points, over, trials, where)

    failing = p_at_least(FAILING)
    some_degraded = any(DEGRADED in seed_verdicts for seed_verdicts in votes.values())
    bad = np.maximum(failing, p_at_least(DEGRADED)) if some_degraded else failing
    verdicts = np.where(failing > 0.5, FAILING, np.where(bad > 0.5, DEGRADED, GOOD))
    return verdicts.astype(np.int8), failing


def nearest(seen: np.ndarray) -> np.ndarray:
    """Each cell's verdict or, if it is UNKNOWN, that of the nearest known cell; like `seen`, (nx,
    ny).

    Example:
        >>> nearest(np.array([[0, -1, -1, 2]])).tolist()
        [[0, 0, 2, 2]]
    """
    known, unknown = np.argwhere(seen != UNKNOWN), np.argwhere(seen == UNKNOWN)
    filled = seen.copy()
    for part in np.split(unknown, range(CELLS_AT_ONCE, len(unknown), CELLS_AT_ONCE)):
        square = ((part[:, None, :] - known[None, :, :]) ** 2).sum(axis=2)
        closest = known[square.argmin(axis=1)]
        filled[part[:, 0], part[:, 1]] = seen[closest[:, 0], closest[:, 1]]
    return filled


def _check(shape: tuple[int, int], trained: Mapping[Spot, object]) -> None:
    if not trained:
        raise BadInput(
            "No cell was trained",
            value=0,
            allowed="at least 1 cell",
            where="fill",
        )
    for x, y in trained:
        if not (0 <= x < shape[0] and 0 <= y < shape[1]):
            raise BadInput(
                "A trained cell is outside the grid",
                value=(x, y),
                allowed=f"(0, 0) to below {shape}",
                where="fill",
            )

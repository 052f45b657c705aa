"""Verdicts of cells from the verdicts of their seeds, and the cells next to a change of verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from betaplane.maps.phase_map import Spot
from betaplane.maps.sampling.quadtree import UNKNOWN


def verdict(votes: Sequence[int]) -> int:
    """The verdict of a cell from those of its seeds: the median, the worse one of the middle two.

    Example:
        >>> verdict([0, 2, 0]), verdict([0, 2])
        (0, 2)
    """
    return sorted(votes)[len(votes) // 2]


def verdict_grid(shape: tuple[int, int], votes: Mapping[Spot, Sequence[int]]) -> np.ndarray:
    """The verdicts of the trained cells, int8 (nx, ny); UNKNOWN elsewhere."""
    seen = np.full(shape, UNKNOWN, np.int8)
    for spot, seed_verdicts in votes.items():
        seen[spot] = verdict(seed_verdicts)
    return seen


def beside_change(seen: np.ndarray) -> np.ndarray:
    """Known cells that have a known neighbor (of four) with another verdict.

    Args:
        seen: (nx, ny), verdicts; UNKNOWN if not trained.

    Returns:
        bool, (nx, ny).

    Example:
        >>> beside_change(np.array([[0, 0, 2, -1, 0]])).tolist()
        [[False, True, True, False, False]]
    """
    beside = np.zeros(seen.shape, bool)
    for one, other in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        both_known = (seen[one] != UNKNOWN) & (seen[other] != UNKNOWN)
        differ = (seen[one] != seen[other]) & both_known
        beside[one] |= differ
        beside[other] |= differ
    return beside

"""Which cells of a map to train next: ask for a batch, train it, tell the verdicts, ask again.

A chooser holds no results but those it was told, decides only when all it asked for has been told, and looks at no more
seeds than it asked for. So the same trainings lead to the same choices in any process and any order, and a map that was
killed is resumed by asking and telling again from the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.choose_fill import fill
from betaplane.maps.choose_tree import UNKNOWN, levels
from betaplane.maps.phase_map import Spot

__all__ = ["Chooser", "Dense", "Refine", "Request", "fill", "verdict"]


class Request(NamedTuple):
    """At least `seeds` trainings in total are wanted at this spot: seed numbers 0 .. seeds - 1."""

    spot: Spot
    seeds: int


class Chooser(Protocol):
    """What `Dense` and `Refine` have in common."""

    def ask(self) -> list[Request]:
        """What to train next, sorted by spot, all of it trainable side by side; [] when the map is finished."""
        ...

    def tell(self, verdicts: Mapping[Spot, Sequence[int]]) -> None:
        """Take in all verdicts known so far at the spots asked for, in the order of their seeds."""
        ...


def verdict(votes: Sequence[int]) -> int:
    """The verdict of a spot from those of its seeds: the median, the worse one of the middle two.

    Example:
        >>> verdict([0, 2, 0]), verdict([0, 2])
        (0, 2)
    """
    return sorted(votes)[len(votes) // 2]


class _Told:
    """What was asked for and what was told, kept apart from how a chooser decides."""

    def __init__(self, shape: tuple[int, int]) -> None:
        if min(shape) < 1:
            raise BadInput(
                "A grid needs at least one cell", value=shape, allowed="(>= 1, >= 1)", where="shape", instead="(24, 24)"
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.asked: dict[Spot, int] = {}
        self.votes: dict[Spot, list[int]] = {}

    def ask(self) -> list[Request]:
        """What to train next, sorted by spot, all of it trainable side by side; [] when the map is finished."""
        if not self._waiting():
            for request in self._choose():
                self.asked[request.spot] = request.seeds
        return self._waiting()

    def tell(self, verdicts: Mapping[Spot, Sequence[int]]) -> None:
        """Take in all verdicts known so far at the spots asked for, in the order of their seeds.

        Seeds and spots that were not asked for are not looked at: a store that knows more than was asked leads to the
        same choices.
        """
        for spot, votes in verdicts.items():
            if spot in self.asked:
                self.votes[spot] = [int(vote) for vote in votes[: self.asked[spot]]]

    def _waiting(self) -> list[Request]:
        return [Request(s, self.asked[s]) for s in sorted(self.asked) if len(self.votes.get(s, ())) < self.asked[s]]

    def _choose(self) -> list[Request]:
        raise NotImplementedError


class Dense(_Told):
    """Asks for every cell once, in one batch.

    Args:
        shape: (nx, ny), cells of the grid.
        seeds: trainings a cell, >= 1.

    Example:
        >>> chooser = Dense((1, 2), seeds=3)
        >>> chooser.ask()
        [Request(spot=(0, 0), seeds=3), Request(spot=(0, 1), seeds=3)]
        >>> chooser.tell({(0, 0): [0, 0, 0], (0, 1): [0, 2, 2]})
        >>> chooser.ask()
        []
    """

    def __init__(self, shape: tuple[int, int], seeds: int = 2) -> None:
        super().__init__(shape)
        self.seeds = _at_least(1, seeds, "seeds")

    def _choose(self) -> list[Request]:
        return [Request((x, y), self.seeds) for x, y in np.ndindex(self.shape) if (x, y) not in self.asked]


class Refine(_Told):
    """Asks coarse to fine, along the changes of verdict, and repeats the trainings that stand next to one.

    A start grid first; then every box of the quadtree whose trained spots differ in verdict is split, down to the
    single cell, and with `guard` the boxes around it too, so that a tongue that leaves a box is followed. Then the spots
    next to another verdict, and those whose seeds disagree, are trained with `boundary_seeds` seeds; where that changes
    a verdict, refinement goes on.

    Args:
        shape: (nx, ny), cells of the grid; any numbers >= 1.
        seeds: trainings a spot, >= 1.
        boundary_seeds: trainings of a spot next to a change of verdict; no repeats where it is not above `seeds`.
        start: points a side of the start grid, >= 2; fewer on short axes, where they would be closer than 3 cells.
        guard: whether the neighbours of split boxes are split too.

    Example:
        >>> chooser = Refine((64, 64), seeds=1, boundary_seeds=1)
        >>> trained = {}
        >>> while batch := chooser.ask():
        ...     trained.update({spot: [2 if sum(spot) < 40 else 0] for spot, _ in batch})
        ...     chooser.tell(trained)
        >>> filled = fill((64, 64), {spot: verdict(votes) for spot, votes in trained.items()})
        >>> len(trained) < 64 * 64 / 4, all(filled[x, y] == 2 * (x + y < 40) for x, y in np.ndindex(64, 64))
        (True, True)
    """

    def __init__(
        self,
        shape: tuple[int, int],
        seeds: int = 2,
        boundary_seeds: int = 4,
        start: int = 9,
        guard: bool = True,
    ) -> None:
        super().__init__(shape)
        self.seeds = _at_least(1, seeds, "seeds")
        self.boundary_seeds = _at_least(1, boundary_seeds, "boundary_seeds")
        self.start = _at_least(2, start, "start")
        self.guard = guard

    def _choose(self) -> list[Request]:
        seen = _seen(self.shape, self.votes)
        missing = [_spot(spot) for spots, _ in levels(seen, self.start, self.guard) for spot in spots]
        fresh = [Request(spot, self.seeds) for spot in missing]
        return fresh or [Request(spot, self.boundary_seeds) for spot in self._doubtful(seen)]

    def _doubtful(self, seen: np.ndarray) -> list[Spot]:
        """Spots with fewer than `boundary_seeds` seeds that lie beside another verdict or whose seeds disagree."""
        beside = beside_change(seen)
        return [
            spot
            for spot, votes in sorted(self.votes.items())
            if self.asked[spot] < self.boundary_seeds and (beside[spot] or len(set(votes)) > 1)
        ]


def beside_change(seen: np.ndarray) -> np.ndarray:
    """Which known cells have a known neighbour (of four) with another verdict; bool, like `seen` (nx, ny).

    Example:
        >>> beside_change(np.array([[0, 0, 2, -1, 0]])).tolist()
        [[False, True, True, False, False]]
    """
    beside = np.zeros(seen.shape, bool)
    for one, two in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (seen[one] != seen[two]) & (seen[one] != UNKNOWN) & (seen[two] != UNKNOWN)
        beside[one] |= differ
        beside[two] |= differ
    return beside


def _seen(shape: tuple[int, int], votes: Mapping[Spot, Sequence[int]]) -> np.ndarray:
    seen = np.full(shape, UNKNOWN, np.int8)
    for spot, given in votes.items():
        seen[spot] = verdict(given)
    return seen


def _spot(spot: np.ndarray) -> Spot:
    return int(spot[0]), int(spot[1])


def _at_least(low: int, value: int, name: str) -> int:
    if value < low:
        raise BadInput(
            f"{name} is too small", value=value, allowed=f"[{low}, inf)", where=name, instead=f"{name}={low}"
        )
    return value

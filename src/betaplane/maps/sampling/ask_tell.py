"""Which cells of a map to train next: ask for a batch, train it, tell the verdicts, ask again.

A chooser holds no results but those it was told, decides only when all it asked for has been told,
and looks at no more seeds than it asked for. So the same trainings lead to the same choices in any
process and any order, and a map that was killed is resumed by asking and telling again from the
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.phase_map import Spot
from betaplane.maps.sampling.acquisition import LEAST, BudgetPlan, Surfaces
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.quadtree import UNKNOWN, levels, start_cells

__all__ = ["Chooser", "Dense", "Refine", "Request", "fill", "fill_by_surface", "verdict"]


TREE_SHARE = 0.25  # of a batch under a budget: what goes to the quadtree's next splits


class Request(NamedTuple):
    """At least `seeds` trainings in total are wanted at this spot: seed numbers 0 .. seeds - 1."""

    spot: Spot
    seeds: int


class Chooser(Protocol):
    """What `Dense` and `Refine` have in common."""

    def ask(self) -> list[Request]:
        """What to train next, sorted by spot, all of it trainable side by side; [] when the map is
        finished.
        """
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
                "A grid needs at least one cell",
                value=shape,
                allowed="(>= 1, >= 1)",
                where="shape",
                instead="(24, 24)",
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.asked: dict[Spot, int] = {}
        self.votes: dict[Spot, list[int]] = {}

    def ask(self) -> list[Request]:
        """What to train next, sorted by spot, all of it trainable side by side; [] when the map is
        finished.
        """
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
        return [
            Request(s, self.asked[s])
            for s in sorted(self.asked)
            if len(self.votes.get(s, ())) < self.asked[s]
        ]

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
        return [
            Request((x, y), self.seeds)
            for x, y in np.ndindex(self.shape)
            if (x, y) not in self.asked
        ]


class Refine(_Told):
    """Asks coarse to fine, along the changes of verdict, and repeats the trainings that stand next
    to one.

    A start grid first; then every box of the quadtree whose trained spots differ in verdict is split, down to the
    single cell, and with `guard` the boxes around it too, so that a tongue that leaves a box is followed. Then the
    spots next to another verdict, and those whose seeds disagree, are trained with `boundary_seeds` seeds; where that
    changes a verdict, refinement goes on.

    With a `budget`, the start grid (a coarser one, if it would take more than half of the budget) is followed by
    batches in which one training in four goes to what the quadtree would split next, coarsest boxes first, and the
    others to where `gaussian_process` is most in doubt about the verdict and one more training tells most: new
    spots, or repeats where P(fail) is near one half. It ends when the budget is spent, or earlier where nothing is in
    doubt any more (at once, if the start grid shows one verdict only). Such a map is judged with `fill_by_surface`:
    a budget does not reach down to the single cell, as `fill` assumes.

    Args:
        shape: (nx, ny), cells of the grid; any numbers >= 1.
        seeds: trainings a spot, >= 1; with a budget, of one, more spots are seen.
        boundary_seeds: trainings of a spot next to a change of verdict, and of any spot at most; no repeats where it is
            not above `seeds`.
        start: points a side of the start grid, >= 2; fewer on short axes, where they would be
            closer than 3 cells.
        guard: whether the neighbours of split boxes are split too.
        budget: trainings in all, >= 1; None for as many as it takes.
        batch: trainings a batch under a budget, >= 1; by default a twentieth of the budget, or 8.

    Attributes:
        start: points a side of the start grid that is used, which `fill` should be given.

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
        budget: int | None = None,
        batch: int | None = None,
    ) -> None:
        super().__init__(shape)
        self.seeds = _at_least(1, seeds, "seeds")
        self.boundary_seeds = _at_least(1, boundary_seeds, "boundary_seeds")
        self.start = _at_least(2, start, "start")
        self.guard = guard
        self.budget = None if budget is None else _at_least(1, budget, "budget")
        self.batch = _at_least(1, max(8, (budget or 0) // 20) if batch is None else batch, "batch")
        self._surfaces = Surfaces()
        while (
            budget
            and self.start > 2
            and 2 * self.seeds * start_cells(self.shape, self.start) > budget
        ):
            self.start -= 1

    def _choose(self) -> list[Request]:
        seen = _seen(self.shape, self.votes)
        missing = [
            [_spot(spot) for spot in spots] for spots, _ in levels(seen, self.start, self.guard)
        ]
        if self.budget is not None:
            return self._affordable(missing, self.budget - sum(self.asked.values()))
        fresh = [Request(spot, self.seeds) for spots in missing for spot in spots]
        return fresh or [Request(spot, self.boundary_seeds) for spot in self._doubtful(seen)]

    def _doubtful(self, seen: np.ndarray) -> list[Spot]:
        """Spots with fewer than `boundary_seeds` seeds that lie beside another verdict or whose
        seeds disagree.
        """
        beside = beside_change(seen)
        return [
            spot
            for spot, votes in sorted(self.votes.items())
            if self.asked[spot] < self.boundary_seeds and (beside[spot] or len(set(votes)) > 1)
        ]

    def _affordable(self, missing: list[list[Spot]], left: int) -> list[Request]:
        """The next batch, when `left` trainings may still be asked for and the tree misses these
        spots, by level.
        """
        if not self.asked:
            return _first(missing[0], self.seeds, left)
        room = min(left, self.batch)
        surfaces = self._surfaces.fit(self.votes) if room > 0 else []
        if not surfaces:
            return []
        fresh = (lattice(self.shape) | {spot for spots in missing for spot in spots}) - set(
            self.asked
        )
        cap = max(self.seeds, self.boundary_seeds)
        plan = BudgetPlan(surfaces, self.asked, fresh, seeds=self.seeds, cap=cap, room=room)
        for spots in missing:
            plan.take(int(TREE_SHARE * room) - (room - plan.room), among=spots)
        plan.take(plan.room, least=LEAST)
        return [Request(spot, seeds) for spot, seeds in plan.chosen.items()]


def lattice(shape: tuple[int, int]) -> set[Spot]:
    """The cells a budget may be spent on besides those of the quadtree: all, or evenly at most 64 a
    side.

    Example:
        >>> sorted(lattice((2, 2))), len(lattice((64, 256)))
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 4096)
    """
    steps = [-(-points // 64) for points in shape]
    xs, ys = (
        range((step - 1) // 2, points, step) for step, points in zip(steps, shape, strict=True)
    )
    return {(x, y) for x in xs for y in ys}


def _first(spots: Sequence[Spot], seeds: int, budget: int) -> list[Request]:
    """The start grid, as far as the budget goes: only one of a handful of trainings does not reach
    its end.
    """
    whole, rest = divmod(budget, seeds)
    requests = [Request(spot, seeds) for spot in spots[:whole]]
    return requests + [Request(spot, rest) for spot in spots[whole : whole + 1] if rest]


def beside_change(seen: np.ndarray) -> np.ndarray:
    """Which known cells have a known neighbour (of four) with another verdict; bool, like `seen`
    (nx, ny).

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
            f"{name} is too small",
            value=value,
            allowed=f"[{low}, inf)",
            where=name,
            instead=f"{name}={low}",
        )
    return value

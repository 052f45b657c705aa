"""Choose the cells of a map to train next, by an ask/tell interface: ask for a batch, train it,
tell the verdicts, ask again.

A chooser keeps no results except those it was given by `tell`, decides only when all requested
verdicts have arrived, and ignores seeds that it did not request. So the same runs lead to the same
choices in any process and any order. A killed map resumes by asking and telling again from the
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.phase_map import Spot
from betaplane.maps.sampling.acquisition import MIN_WORTH, BatchPlan, Surfaces
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.quadtree import levels, start_cells
from betaplane.maps.sampling.votes import beside_change, verdict, verdict_grid

__all__ = ["Chooser", "Dense", "Refine", "Request", "fill", "fill_by_surface", "verdict"]


TREE_SHARE = 0.25  # of a batch under a budget that goes to the quadtree's next splits
MAX_LATTICE_SIDE = 64  # cells


class Request(NamedTuple):
    """A request for at least `seeds` runs in total at a cell: seed numbers 0 .. seeds - 1."""

    spot: Spot
    seeds: int


class Chooser(Protocol):
    """The interface of `Dense` and `Refine`."""

    def ask(self) -> list[Request]:
        """The runs to train next, sorted by cell, in any order; [] when the map is finished."""
        ...

    def tell(self, verdicts: Mapping[Spot, Sequence[int]]) -> None:
        """Accept all known verdicts of the requested cells, in the order of their seeds."""
        ...


class _AskTell:
    """The requests and verdicts of a chooser; subclasses decide what to request."""

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
        """The runs to train next, sorted by cell, in any order; [] when the map is finished."""
        if not self._pending():
            for request in self._choose():
                self.asked[request.spot] = request.seeds
        return self._pending()

    def tell(self, verdicts: Mapping[Spot, Sequence[int]]) -> None:
        """Accept all known verdicts of the requested cells, in the order of their seeds.

        Seeds and cells that were not requested are ignored, so a store with more runs leads to the
        same choices.
        """
        for spot, votes in verdicts.items():
            if spot in self.asked:
                self.votes[spot] = [int(vote) for vote in votes[: self.asked[spot]]]

    def _pending(self) -> list[Request]:
        return [
            Request(spot, self.asked[spot])
            for spot in sorted(self.asked)
            if len(self.votes.get(spot, ())) < self.asked[spot]
        ]

    def _choose(self) -> list[Request]:
        raise NotImplementedError


class Dense(_AskTell):
    """Requests every cell once, in one batch.

    Args:
        shape: (nx, ny), cells of the grid.
        seeds: runs per cell, >= 1.

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


class Refine(_AskTell):
    """Requests cells from coarse to fine, along the changes of verdict, and repeats the runs next
    to one.

    A start grid comes first. Then every box of the quadtree whose trained cells differ in verdict
    is split, down to the single cell. With `guard`, the boxes around it are split too, so that a
    narrow region that leaves a box is followed. Then the cells next to another verdict, and those
    whose seeds disagree, are trained with `boundary_seeds` seeds. If that changes a verdict,
    refinement continues.

    With a `budget`, the start grid is followed by batches. It is coarser if it would take more than
    half of the budget. One run in four goes to the next splits of the quadtree, coarsest boxes
    first. The others go to cells at which `gaussian_process` is most uncertain about the verdict:
    new cells, or repeats if P(fail) is near one half. It ends when the budget is spent, or earlier
    if nothing is uncertain any more (immediately, if the start grid shows only one verdict). Such a
    map is judged with `fill_by_surface`: a budget does not reach the single cell, as `fill`
    assumes.

    Args:
        shape: (nx, ny), cells of the grid, each >= 1.
        seeds: runs per cell, >= 1; with a budget, one seed shows more cells.
        boundary_seeds: runs of a cell next to a change of verdict, and the most of any cell; no
            repeats unless above `seeds`.
        start: points per side of the start grid, >= 2; fewer on short axes, so that they are at
            least 3 cells apart.
        guard: whether the neighbors of split boxes are split too.
        budget: runs in total, >= 1; None for as many as necessary.
        batch: runs per batch under a budget, >= 1; by default a twentieth of the budget, at least
            8.

    Attributes:
        start: points per side of the start grid that is used; pass it to `fill`.

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
        if budget:
            self.start = _affordable_start(self.shape, self.start, self.seeds, budget)

    def _choose(self) -> list[Request]:
        seen = verdict_grid(self.shape, self.votes)
        missing = [
            [(int(x), int(y)) for x, y in spots]
            for spots, _ in levels(seen, self.start, self.guard)
        ]
        if self.budget is not None:
            return self._next_batch(missing, self.budget - sum(self.asked.values()))
        fresh = [Request(spot, self.seeds) for spots in missing for spot in spots]
        return fresh or [Request(spot, self.boundary_seeds) for spot in self._repeats(seen)]

    def _repeats(self, seen: np.ndarray) -> list[Spot]:
        """Cells with fewer than `boundary_seeds` seeds that are next to another verdict or whose
        seeds disagree.
        """
        beside = beside_change(seen)
        return [
            spot
            for spot, votes in sorted(self.votes.items())
            if self.asked[spot] < self.boundary_seeds and (beside[spot] or len(set(votes)) > 1)
        ]

    def _next_batch(self, missing: list[list[Spot]], left: int) -> list[Request]:
        """The next batch under a budget.

        Args:
            missing: cells that the quadtree lacks, by level.
            left: runs that may still be requested.
        """
        if not self.asked:
            return _start_requests(missing[0], self.seeds, left)
        size = min(left, self.batch)
        surfaces = self._surfaces.fit(self.votes) if size > 0 else []
        if not surfaces:
            return []
        in_tree = {spot for spots in missing for spot in spots}
        fresh = (lattice(self.shape) | in_tree) - set(self.asked)
        cap = max(self.seeds, self.boundary_seeds)
        plan = BatchPlan(surfaces, self.asked, fresh, seeds=self.seeds, cap=cap, size=size)
        for spots in missing:
            chosen = size - plan.left
            plan.take(int(TREE_SHARE * size) - chosen, among=spots)
        plan.take(plan.left, min_worth=MIN_WORTH)
        return [Request(spot, seeds) for spot, seeds in plan.chosen.items()]


def _affordable_start(shape: tuple[int, int], start: int, seeds: int, budget: int) -> int:
    """The largest start grid, up to `start` points per side, that takes at most half the budget."""
    while start > 2 and 2 * seeds * start_cells(shape, start) > budget:
        start -= 1
    return start


def _start_requests(spots: Sequence[Spot], seeds: int, budget: int) -> list[Request]:
    """The start grid, or as much of it as a budget of a few runs allows."""
    cells, rest = divmod(budget, seeds)
    requests = [Request(spot, seeds) for spot in spots[:cells]]
    if rest:
        requests += [Request(spot, rest) for spot in spots[cells : cells + 1]]
    return requests


def lattice(shape: tuple[int, int]) -> set[Spot]:
    """The cells that a budget may be spent on besides those of the quadtree: all, or at most 64 per
    side, evenly spaced.

    Example:
        >>> sorted(lattice((2, 2))), len(lattice((64, 256)))
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 4096)
    """
    steps = [-(-points // MAX_LATTICE_SIDE) for points in shape]
    xs, ys = (
        range((step - 1) // 2, points, step) for step, points in zip(steps, shape, strict=True)
    )
    return {(x, y) for x in xs for y in ys}


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

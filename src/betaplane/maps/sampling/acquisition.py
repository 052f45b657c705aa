"""Where the next trainings of a limited number are worth most.

A training is worth the probability that its spot is now judged wrongly, times the share of the
doubt about the latent function there that it would remove:

    worth = P(sign f is wrong) s^2 / (s^2 + noise),   noise = 1 / (p (1 - p)) per training,

s the standard deviation of f. Where f is unknown, a new spot is worth most; where it is known to be
near 0, so that P(fail) is near one half, another seed is. What a training would do to s everywhere
does not depend on its outcome, so a batch is put together one training at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from betaplane.maps.phase_map import DEGRADED, FAILING, Spot
from betaplane.maps.sampling.gaussian_process import Kernel, Surface, fit, sigmoid

REGROWTH = 1.25  # the kernel is chosen anew when there are so many times more trainings
# of one training, in log-odds squared, at most: where p is near 0 or 1, a Gaussian is no guide
NOISE = 50.0
LEAST = 1e-3  # worth below which no training is asked for


class Surfaces:
    """The surfaces through all that is known: P(not good), P(failing). Remembers their kernels from
    call to call.
    """

    def __init__(self) -> None:
        self._kernels: dict[int, tuple[int, Kernel]] = {}

    def fit(self, votes: Mapping[Spot, Sequence[int]]) -> list[Surface]:
        """One surface for each kind of change among the verdicts; none where there is one verdict
        only.
        """
        spots = np.array(sorted(votes))
        trials = np.array([len(votes[x, y]) for x, y in spots])
        surfaces, before = [], trials
        for cut in (DEGRADED, FAILING):
            over = np.array([sum(vote >= cut for vote in votes[x, y]) for x, y in spots])
            if 0 < over.sum() < trials.sum() and not np.array_equal(over, before):
                surfaces.append(self._fit(cut, spots, over, trials))
            before = over
        return surfaces

    def _fit(self, cut: int, spots: np.ndarray, over: np.ndarray, trials: np.ndarray) -> Surface:
        known, (before, kernel) = int(trials.sum()), self._kernels.get(cut, (0, None))
        if kernel is not None and known < REGROWTH * before:
            return fit(spots, over, trials, kernel)
        surface = fit(spots, over, trials)
        self._kernels[cut] = known, surface.kernel
        return surface


class Doubt:
    """What is not known about f at the candidates (m, 2), as trainings are added, one batch of at
    most `room`.
    """

    def __init__(self, surface: Surface, candidates: np.ndarray, room: int) -> None:
        self._kernel, self._candidates = surface.kernel, candidates
        cross = surface.kernel(candidates, surface.points)
        self._used = len(surface.points)
        # posterior covariance: K - factors factors^T
        self._factors = np.zeros((len(candidates), self._used + room))
        self._factors[:, : self._used] = surface.whiten(cross)
        self._mean = cross @ surface.slope
        self._variance = np.maximum(surface.kernel.variance - (self._factors**2).sum(axis=1), 1e-9)
        p = sigmoid(self._mean)
        self._noise = np.minimum(1 / np.maximum(p * (1 - p), 1e-9), NOISE)

    def worth(self, trainings: np.ndarray) -> np.ndarray:
        """The worth of so many trainings (m,) at each candidate, per training, (m,)."""
        # the normal tail, within 0.01
        wrong = sigmoid(-1.702 * np.abs(self._mean) / np.sqrt(self._variance))
        return wrong * self._variance / (self._variance + self._noise / trainings) / trainings

    def add(self, index: int, trainings: int) -> None:
        """Take account of so many trainings to come at one candidate."""
        covariance = self._kernel(self._candidates, self._candidates[index : index + 1])[:, 0]
        covariance -= self._factors[:, : self._used] @ self._factors[index, : self._used]
        column = covariance / np.sqrt(self._variance[index] + self._noise[index] / trainings)
        self._factors[:, self._used] = column
        self._used += 1
        self._variance = np.maximum(self._variance - column**2, 1e-9)


class BudgetPlan:
    """A batch under way: which spots get how many seeds.

    Args:
        surfaces: from `Surfaces.fit`, at least one; where there are two, their worths are added.
        asked: trainings asked for so far at each spot.
        fresh: spots that were not asked for and could be.
        seeds: trainings a fresh spot gets; a known one gets one more.
        cap: trainings beyond which no spot gets more.
        room: trainings in the batch, >= 1.
    """

    def __init__(
        self,
        surfaces: Sequence[Surface],
        asked: Mapping[Spot, int],
        fresh: Iterable[Spot],
        *,
        seeds: int,
        cap: int,
        room: int,
    ) -> None:
        self.chosen: dict[Spot, int] = {}  # spot: its trainings in all
        self.room = room
        self._seeds, self._cap = seeds, cap
        self._spots = sorted({*(spot for spot in asked if asked[spot] < cap), *fresh})
        self._total = np.array([asked.get(spot, 0) for spot in self._spots], int)
        candidates = np.array(self._spots, float).reshape(-1, 2)
        self._doubts = [Doubt(surface, candidates, room) for surface in surfaces]

    def take(self, room: int, *, among: Iterable[Spot] | None = None, least: float = 0.0) -> None:
        """Choose up to `room` more trainings, of the spots `among`, while they are worth `least` or
        more.
        """
        room, some = min(room, self.room), None if among is None else set(among)
        open_ = np.array([some is None or spot in some for spot in self._spots], bool)
        while room > 0 and len(self._spots):
            cost = np.minimum(np.where(self._total == 0, self._seeds, 1), room)
            worth = np.sum([doubt.worth(cost) for doubt in self._doubts], axis=0)
            worth[~open_ | (self._total >= self._cap)] = -1.0
            best = int(worth.argmax())
            if worth[best] < least:
                break
            room -= self._choose(best, int(cost[best]))

    def _choose(self, index: int, trainings: int) -> int:
        self._total[index] += trainings
        self.room -= trainings
        self.chosen[self._spots[index]] = int(self._total[index])
        for doubt in self._doubts:
            doubt.add(index, trainings)
        return trainings

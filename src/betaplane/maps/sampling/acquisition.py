"""The worth of a run under a limited number of runs, and the batch that is worth most.

A run is worth the probability that its cell is now judged wrongly, times the share of the
uncertainty about the latent function there that it would remove:

    worth = P(sign f is wrong) s^2 / (s^2 + noise),   noise = 1 / (p (1 - p)) per run,

s is the standard deviation of f. If f is unknown, a new cell is worth most. If f is known to be
near 0, so that P(fail) is near one half, another seed is. The effect of a run on s does not depend
on its outcome, so a batch is chosen one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from betaplane.maps.phase_map import DEGRADED, FAILING, Spot
from betaplane.maps.sampling.gaussian_process import fit
from betaplane.maps.sampling.laplace import Kernel, Surface, sigmoid

REFIT_GROWTH = 1.25  # the kernel is chosen again when the number of runs has grown by this factor
# Largest noise of one run, in log-odds squared. If p is near 0 or 1, a Gaussian is a poor model.
MAX_NOISE = 50.0
MIN_WORTH = 1e-3  # no run is requested below it
MIN_VARIANCE = 1e-9
NORMAL_TAIL_SCALE = 1.702  # sigmoid(-1.702 z) is the normal tail at z, within 0.01


class Surfaces:
    """The surfaces through all known verdicts: P(not good) and P(failing).

    Their kernels are kept from call to call.
    """

    def __init__(self) -> None:
        self._kernels: dict[int, tuple[int, Kernel]] = {}  # cut -> runs when chosen, kernel

    def fit(self, votes: Mapping[Spot, Sequence[int]]) -> list[Surface]:
        """One surface for each kind of change among the verdicts; none if all verdicts are equal.

        Args:
            votes: verdicts of the seeds of each trained cell.
        """
        spots = np.array(sorted(votes))
        trials = np.array([len(votes[x, y]) for x, y in spots])
        surfaces, previous = [], trials
        for cut in (DEGRADED, FAILING):
            over = np.array([sum(vote >= cut for vote in votes[x, y]) for x, y in spots])
            if 0 < over.sum() < trials.sum() and not np.array_equal(over, previous):
                surfaces.append(self._fit(cut, spots, over, trials))
            previous = over
        return surfaces

    def _fit(self, cut: int, spots: np.ndarray, over: np.ndarray, trials: np.ndarray) -> Surface:
        runs = int(trials.sum())
        runs_when_chosen, kernel = self._kernels.get(cut, (0, None))
        if kernel is not None and runs < REFIT_GROWTH * runs_when_chosen:
            return fit(spots, over, trials, kernel)
        surface = fit(spots, over, trials)
        self._kernels[cut] = runs, surface.kernel
        return surface


class Uncertainty:
    """The posterior variance of f at the candidates, as runs are added to a batch.

    Args:
        surface: the fitted classifier.
        candidates: (m, 2), cells that may be trained.
        max_runs: largest number of runs that are added.
    """

    def __init__(self, surface: Surface, candidates: np.ndarray, max_runs: int) -> None:
        self._kernel = surface.kernel
        self._candidates = candidates
        cross = surface.kernel(candidates, surface.points)
        self._used = len(surface.points)
        # posterior covariance: K - factors factors^T
        self._factors = np.zeros((len(candidates), self._used + max_runs))
        self._factors[:, : self._used] = surface.whiten(cross)
        self._mean = cross @ surface.slope
        variance = surface.kernel.variance - (self._factors**2).sum(axis=1)
        self._variance = np.maximum(variance, MIN_VARIANCE)
        p = sigmoid(self._mean)
        self._noise = np.minimum(1 / np.maximum(p * (1 - p), 1e-9), MAX_NOISE)

    def worth(self, runs: np.ndarray) -> np.ndarray:
        """The worth of so many runs (m,) at each candidate, per run, (m,)."""
        p_wrong = sigmoid(-NORMAL_TAIL_SCALE * np.abs(self._mean) / np.sqrt(self._variance))
        return p_wrong * self._variance / (self._variance + self._noise / runs) / runs

    def add(self, index: int, runs: int) -> None:
        """Account for so many future runs at one candidate."""
        covariance = self._kernel(self._candidates, self._candidates[[index]])[:, 0]
        covariance -= self._factors[:, : self._used] @ self._factors[index, : self._used]
        column = covariance / np.sqrt(self._variance[index] + self._noise[index] / runs)
        self._factors[:, self._used] = column
        self._used += 1
        self._variance = np.maximum(self._variance - column**2, MIN_VARIANCE)


class BatchPlan:
    """A batch in progress: the number of seeds of each chosen cell.

    Args:
        surfaces: from `Surfaces.fit`, at least one; the worths of two are added.
        asked: runs requested so far at each cell.
        fresh: cells that were not requested yet and may be.
        seeds: runs of a fresh cell; a known one gets one more.
        cap: largest number of runs of a cell.
        size: runs in the batch, >= 1.
    """

    def __init__(
        self,
        surfaces: Sequence[Surface],
        asked: Mapping[Spot, int],
        fresh: Iterable[Spot],
        *,
        seeds: int,
        cap: int,
        size: int,
    ) -> None:
        self.chosen: dict[Spot, int] = {}  # cell -> its runs in total
        self.left = size  # runs that may still be chosen
        self._seeds = seeds
        self._cap = cap
        self._spots = sorted({*(spot for spot in asked if asked[spot] < cap), *fresh})
        self._total = np.array([asked.get(spot, 0) for spot in self._spots], int)
        candidates = np.array(self._spots, float).reshape(-1, 2)
        self._uncertainties = [Uncertainty(surface, candidates, size) for surface in surfaces]

    def take(
        self, runs: int, *, among: Iterable[Spot] | None = None, min_worth: float = 0.0
    ) -> None:
        """Choose up to `runs` more runs.

        Args:
            runs: largest number of them.
            among: cells to choose from; all by default.
            min_worth: stop when no run is worth this much.
        """
        left = min(runs, self.left)
        allowed = None if among is None else set(among)
        usable = np.array([allowed is None or spot in allowed for spot in self._spots], bool)
        while left > 0 and len(self._spots):
            cost = np.minimum(np.where(self._total == 0, self._seeds, 1), left)
            worth = np.sum([each.worth(cost) for each in self._uncertainties], axis=0)
            worth[~usable | (self._total >= self._cap)] = -1.0
            best = int(worth.argmax())
            if worth[best] < min_worth:
                break
            left -= self._choose(best, int(cost[best]))

    def _choose(self, index: int, runs: int) -> int:
        self._total[index] += runs
        self.left -= runs
        self.chosen[self._spots[index]] = int(self._total[index])
        for uncertainty in self._uncertainties:
            uncertainty.add(index, runs)
        return runs

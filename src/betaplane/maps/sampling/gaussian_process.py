"""P(fail) over the whole grid from few, noisy runs: a Gaussian-process classifier.

The model (Rasmussen & Williams 2006, chapter 3): f is a smooth latent function over the plane, and
each run at x fails with probability sigma(f(x)) = 1 / (1 + exp(-f(x))). Near f = 0 the same setting
fails with one seed and not with the next: this is the label noise, and the slope of f at 0 gives
the width of the noisy strip.

    f ~ GP(0, k),   k(x, x') = amplitude^2 (1 + c + c^2 / 3) exp(-c) + BIAS^2,   c = sqrt(5) |(x - x') / length|

(Matern 5/2 plus a constant). The posterior of f is approximated by the Gaussian at its mode
(`laplace`). `length`, one for each axis, and `amplitude` are the values of a small grid that
maximize the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.sampling.laplace import Kernel, Surface, laplace
from betaplane.maps.sampling.thin import Points, thinned

__all__ = ["Kernel", "Surface", "fit", "p_fail"]

# of the kernel, as shares of the extent of the points
LENGTHS = (0.06, 0.09, 0.14, 0.2, 0.3, 0.45, 0.7, 1.0)
AMPLITUDES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of the latent function, in log-odds
FIRST_AMPLITUDE = 4.0
# factor on the length along x; the length along y is divided by it
ASPECTS = (0.5, 0.7, 1.0, 1.4, 2.0)
SUBSET_POINTS = 200  # points that choose length and amplitude; the time is cubic in them
MAX_POINTS = 1200  # points that are fitted; if there are more, neighbors are merged


def p_fail(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray, where: np.ndarray
) -> np.ndarray:
    """P(fail) at `where`, from the number of runs that failed at `points`.

    Args:
        points: (n, 2), trained points, n >= 1; the two axes may have different units.
        fails: (n,), failed runs at each point.
        trials: (n,), runs at each point, >= 1.
        where: (m, 2), places to judge, in the units of the points.

    Returns:
        (m,) of floats in [0, 1].

    Example:
        >>> points = np.array([[x, y] for x in range(5) for y in range(5)])
        >>> fails = points[:, 1] < 2
        >>> p_fail(points, fails, np.ones(25), np.array([[2, 0], [2, 1.5], [2, 4]])).round(1).tolist()
        [1.0, 0.5, 0.0]
    """
    return fit(points, fails, trials).p_fail(np.asarray(where, float))


def fit(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray, kernel: Kernel | None = None
) -> Surface:
    """The classifier for these failures; arguments as in `p_fail`.

    Without a `kernel`, the length with the largest evidence is chosen first, at an amplitude of 4;
    then the amplitude; then the length again; then the ratio of the lengths along the two axes.
    This tries 28 of the 280 combinations, on a fixed random subset of SUBSET_POINTS points. More
    than MAX_POINTS points are merged with their neighbors, agreeing ones first. The order of the
    points does not matter.
    """
    points, fails, trials = _sorted(*_checked(points, fails, trials))
    subset = np.sort(np.random.default_rng(0).permutation(len(points))[:SUBSET_POINTS])
    kernel = kernel or _best_kernel(points[subset], fails[subset], trials[subset])
    points, fails, trials = thinned(points, fails, trials, MAX_POINTS)
    subset = subset[subset < len(points)]
    draft = laplace(kernel, points[subset], fails[subset], trials[subset])
    return laplace(kernel, points, fails, trials, kernel(points, draft.points) @ draft.slope)


class _KernelSearch:
    """The kernel with the largest evidence, among combinations of options."""

    def __init__(self, points: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> None:
        self.points = points
        self.fails = fails
        self.trials = trials
        self.extent = [float(width) or 1.0 for width in np.ptp(points, axis=0)]
        self.f = np.zeros(len(points))  # the mode under the last kernel, near that of the next

    def best(
        self, lengths: Iterable[float], amplitudes: Iterable[float], aspects: Iterable[float]
    ) -> tuple[tuple[float, float, float], Kernel]:
        """The best (length, amplitude, aspect), and its kernel."""
        tried = [self._try(*options) for options in product(lengths, amplitudes, aspects)]
        return max(tried, key=lambda entry: entry[0])[1:]

    def _try(
        self, length: float, amplitude: float, aspect: float
    ) -> tuple[float, tuple[float, float, float], Kernel]:
        x, y = self.extent
        kernel = Kernel((x * length * aspect, y * length / aspect), amplitude)
        surface = laplace(kernel, self.points, self.fails, self.trials, self.f)
        self.f = kernel(self.points, self.points) @ surface.slope
        return surface.evidence, (length, amplitude, aspect), kernel


def _best_kernel(points: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> Kernel:
    search = _KernelSearch(points, fails, trials)
    (length, _, _), _ = search.best(LENGTHS, [FIRST_AMPLITUDE], [1.0])
    (_, amplitude, _), _ = search.best([length], AMPLITUDES, [1.0])
    (length, _, _), _ = search.best(LENGTHS, [amplitude], [1.0])
    return search.best([length], [amplitude], ASPECTS)[1]


def _sorted(points: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> Points:
    order = np.lexsort((trials, fails, points[:, 1], points[:, 0]))
    return points[order], fails[order], trials[order]


def _checked(points: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> Points:
    points, fails, trials = (np.asarray(array, float) for array in (points, fails, trials))
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) == len(fails) == len(trials) > 0:
        raise BadInput(
            "The shapes of the trained points do not match",
            value=(points.shape, fails.shape, trials.shape),
            allowed="(n, 2), (n,) and (n,) with n >= 1",
            where="points, fails, trials",
        )
    if not (np.isfinite(points).all() and ((fails >= 0) & (fails <= trials) & (trials >= 1)).all()):
        raise BadInput(
            "Invalid counts of failures",
            value=(float(fails.min()), float(fails.max()), float(trials.min())),
            allowed="finite points, 0 <= fails <= trials, trials >= 1",
            where="fails (smallest, largest), trials (smallest)",
        )
    return points, fails, trials

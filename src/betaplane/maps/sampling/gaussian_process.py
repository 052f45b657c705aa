"""P(fail) over the whole grid from few, noisy trainings: a Gaussian-process classifier.

The model (Rasmussen & Williams 2006, chapter 3): a smooth latent function f over the plane, and
each training at x fails with probability sigma(f(x)) = 1 / (1 + exp(-f(x))). Near f = 0 the same
setting fails with one seed and not with the next: that is the label noise, and how steeply f leaves
0 says how wide the noisy strip is.

    f ~ GP(0, k),   k(x, x') = amplitude^2 (1 + c + c^2 / 3) exp(-c) + BIAS^2,   c = sqrt(5) |(x - x') / length|

(Matern 5/2 plus a constant). The posterior of f is approximated by the Gaussian at its mode
(Laplace; algorithms 3.1 and 3.2 there). `length`, one for each axis, and `amplitude` are those of a
small grid under which the labels are likeliest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from betaplane.errors import BadInput

__all__ = ["Kernel", "Surface", "fit", "p_fail", "wilson"]

# of the kernel, as shares of the extent of the points
LENGTHS = (0.06, 0.09, 0.14, 0.2, 0.3, 0.45, 0.7, 1.0)
AMPLITUDES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of the latent function, in log-odds
# factor on the length along x; the length along y is divided by it
ASPECTS = (0.5, 0.7, 1.0, 1.4, 2.0)
BIAS = 2.0  # standard deviation of the constant part of the latent function, in log-odds
SUBSET = 200  # at most so many points choose length and amplitude: the time goes with the cube
MOST = 1200  # at most so many points are fitted; beyond that, neighbours are merged
NEWTON = 50  # steps to the mode at most; 2 to 10 are taken
TOLERANCE = 1e-3  # gain in log posterior at which Newton stops
CHUNK = 4096  # places predicted at once: bounds the memory
Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson(fails: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of P(fail) after so many failures in so many trainings (Wilson 1927, the
    score interval).

        centre = (p + z^2 / 2n) / (1 + z^2 / n),   half = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Args:
        fails: how many failed, in 0 .. trials.
        trials: how many there were; the interval of none is (0, 1).

    Example:
        >>> [round(end, 4) for end in wilson(2, 4)], [round(end, 4) for end in wilson(0, 4)], wilson(0, 0)
        ([0.15, 0.85], [0.0, 0.4899], (0.0, 1.0))
    """
    if not 0 <= fails <= trials:
        raise BadInput(
            "There are more failures than trainings",
            value=(fails, trials),
            allowed="0 <= fails <= trials",
        )
    if trials == 0:
        return 0.0, 1.0
    p, z2 = fails / trials, Z95**2 / trials
    centre, half = p + z2 / 2, float(np.sqrt(z2 * (p * (1 - p) + z2 / 4)))
    return max(0.0, (centre - half) / (1 + z2)), min(1.0, (centre + half) / (1 + z2))


def p_fail(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray, where: np.ndarray
) -> np.ndarray:
    """P(fail) at `where`, from how many trainings failed at `points`.

    Args:
        points: (n, 2), places trained, n >= 1; the units of the two axes need not be alike.
        fails: (n,), how many of the trainings there failed.
        trials: (n,), how many there were, >= 1.
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


@dataclass(frozen=True)
class Kernel:
    """Covariance of the latent function."""

    length: tuple[float, float]  # > 0, in the units of the points
    amplitude: float  # > 0, in log-odds

    def __call__(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Covariances between x (n, 2) and z (m, 2), shape (n, m)."""
        x, z = x / self.length, z / self.length
        square = (x**2).sum(1)[:, None] + (z**2).sum(1) - 2 * x @ z.T
        c = np.sqrt(5 * np.maximum(square, 0))
        return self.amplitude**2 * (1 + c + c**2 / 3) * np.exp(-c) + BIAS**2

    @property
    def variance(self) -> float:
        """k(x, x)."""
        return self.amplitude**2 + BIAS**2


@dataclass(frozen=True)
class Surface:
    """A fitted classifier: what `fit` returns. K is the kernel's covariance of the points."""

    points: np.ndarray  # (n, 2)
    kernel: Kernel
    slope: np.ndarray  # (n,), d log p(labels | f) / d f at the mode, which is K slope
    root: np.ndarray  # (n,), square root of minus the second derivative there
    factor: np.ndarray  # (n, n), lower Cholesky factor of 1 + root K root
    evidence: float  # log p(labels), approximately

    def latent(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of f, in log-odds, at `where` (m, 2); both (m,)."""
        cross = self.kernel(where, self.points)
        variance = self.kernel.variance - (self.whiten(cross) ** 2).sum(axis=1)
        return cross @ self.slope, np.sqrt(np.maximum(variance, 1e-12))

    @cached_property
    def _whitener(self) -> np.ndarray:
        return np.linalg.inv(self.factor)

    def whiten(self, cross: np.ndarray) -> np.ndarray:
        """V (m, n) from covariances (m, n) with the points; the posterior covariance is k(where,
        where) - V V^T.
        """
        return (cross * self.root) @ self._whitener.T

    def p_fail(self, where: np.ndarray) -> np.ndarray:
        """Probability that a training at `where` (m, 2) fails, (m,): its posterior median,
        sigma(mean of f).

        The posterior mean would average over sd, which Laplace's Gaussian has too wide where all labels agree: on maps
        of 400 to 900 points the median is nearer to the true P(fail), on average by a quarter to two thirds.
        """
        parts = [
            self.kernel(where[low : low + CHUNK], self.points)
            for low in range(0, len(where), CHUNK)
        ]
        return np.concatenate([sigmoid(cross @ self.slope) for cross in parts])


def fit(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray, kernel: Kernel | None = None
) -> Surface:
    """The classifier for so many failures of so many trainings; arguments as in `p_fail`.

    Without a `kernel`, the likeliest length is taken first, at an amplitude of 4; then the likeliest amplitude; then
    the length again; then how much longer it is along one axis than along the other. That tries 26 of the 200
    combinations, on a fixed random SUBSET of the points. More than MOST points are merged with their neighbours, first
    where these agree. The order of the points does not matter.
    """
    points, fails, trials = _sorted(*_checked(points, fails, trials))
    some = np.sort(np.random.default_rng(0).permutation(len(points))[:SUBSET])
    kernel = kernel or _likeliest(points[some], fails[some], trials[some])
    points, fails, trials = _thinned(points, fails, trials)
    some = some[some < len(points)]
    draft = _laplace(kernel, points[some], fails[some], trials[some])
    return _laplace(kernel, points, fails, trials, kernel(points, draft.points) @ draft.slope)


def sigmoid(f: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-f)), without overflow."""
    return 0.5 * (1 + np.tanh(f / 2))


def _likeliest(points: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> Kernel:
    extent = np.ptp(points, axis=0)
    x, y = (float(width) or 1.0 for width in extent)
    f = np.zeros(len(points))

    def best(
        lengths: Iterable[float], amplitudes: Iterable[float], aspects: Iterable[float]
    ) -> tuple:
        nonlocal f
        found = []
        for choice in (
            (length, a, aspect) for length in lengths for a in amplitudes for aspect in aspects
        ):
            kernel = Kernel((x * choice[0] * choice[2], y * choice[0] / choice[2]), choice[1])
            surface = _laplace(kernel, points, fails, trials, f)
            f = kernel(points, points) @ surface.slope  # the mode; the next one is near
            found.append((surface.evidence, choice, kernel))
        return max(found, key=lambda one: one[0])[1:]

    (length, _, _), _ = best(LENGTHS, [4.0], [1.0])
    (_, amplitude, _), _ = best([length], AMPLITUDES, [1.0])
    (length, _, _), _ = best(LENGTHS, [amplitude], [1.0])
    return best([length], [amplitude], ASPECTS)[1]


def _laplace(
    kernel: Kernel,
    points: np.ndarray,
    fails: np.ndarray,
    trials: np.ndarray,
    start: np.ndarray | None = None,
) -> Surface:
    """The Gaussian at the mode of f's posterior, searched from f = `start` (n,)."""
    covariance = kernel(points, points)
    weights, height = _mode(covariance, fails, trials, start)
    p = sigmoid(covariance @ weights)
    root = np.sqrt(trials * p * (1 - p))
    factor = np.linalg.cholesky(_bent(root, covariance))
    evidence = height - float(np.log(np.diag(factor)).sum())
    return Surface(points, kernel, fails - trials * p, root, factor, evidence)


def _mode(
    covariance: np.ndarray, fails: np.ndarray, trials: np.ndarray, start: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """K^-1 f at the mode, (n,), and the log posterior there: Newton's method, its steps halved
    where they overshoot.
    """
    weights = np.zeros(len(covariance))
    height = _height(covariance, weights, fails, trials)
    if start is not None:
        from_start = _newton(covariance, start, fails, trials)
        if (there := _height(covariance, from_start, fails, trials)) > height:
            weights, height = from_start, there
    for _ in range(NEWTON):
        target, share = _newton(covariance, covariance @ weights, fails, trials), 1.0
        while (
            there := _height(covariance, weights + share * (target - weights), fails, trials)
        ) < height:
            share /= 2
            if share < 1e-3:
                return weights, height
        weights, gain, height = weights + share * (target - weights), there - height, there
        if gain < TOLERANCE:
            break
    return weights, height


def _newton(
    covariance: np.ndarray, f: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> np.ndarray:
    """K^-1 f after one full Newton step from f (n,)."""
    p = sigmoid(f)
    w = trials * p * (1 - p)
    root, b = np.sqrt(w), w * f + fails - trials * p
    return b - root * np.linalg.solve(_bent(root, covariance), root * (covariance @ b))


def _bent(root: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """1 + root K root, (n, n): its eigenvalues are at least 1."""
    bent = root[:, None] * covariance * root
    bent[np.diag_indices_from(bent)] += 1
    return bent


def _height(
    covariance: np.ndarray, weights: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> float:
    """Up to a constant, the log posterior of f = K weights: log p(labels | f) - f^T K^-1 f / 2."""
    f = covariance @ weights
    return float((fails * f - trials * np.logaddexp(0, f)).sum() - weights @ f / 2)


def _thinned(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most MOST points: blocks of neighbours become one, first those whose trainings all went
    the same way.
    """
    side, sparing = 2, True
    corner, extent = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-300)
    fine = np.ceil(np.sqrt(len(points)))
    while len(points) > MOST:
        block = np.minimum((points - corner) / extent * fine // side, fine // side)
        _, label = np.unique(block, axis=0, return_inverse=True)
        failed, tried = (np.bincount(label.ravel(), count) for count in (fails, trials))
        alike = (
            ((failed == 0) | (failed == tried))[label.ravel()]
            if sparing
            else np.ones(len(points), bool)
        )
        points, fails, trials = _merged(points, fails, trials, np.where(alike, label.ravel(), -1))
        side, sparing = (side * 2, sparing) if side < 8 or not sparing else (2, False)
    return points, fails, trials


def _merged(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points with one label >= 0 become one at their weighted mean; those with -1 stay."""
    label = np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)
    _, label = np.unique(label, return_inverse=True)
    tried = np.bincount(label, trials)
    means = [np.bincount(label, trials * points[:, axis]) / tried for axis in (0, 1)]
    return np.stack(means, axis=1), np.bincount(label, fails), tried


def _sorted(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.lexsort((trials, fails, points[:, 1], points[:, 0]))
    return points[order], fails[order], trials[order]


def _checked(
    points: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, fails, trials = (np.asarray(array, float) for array in (points, fails, trials))
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) == len(fails) == len(trials) > 0:
        raise BadInput(
            "The trained points do not fit together",
            value=(points.shape, fails.shape, trials.shape),
            allowed="(n, 2), (n,) and (n,) with n >= 1",
            where="points, fails, trials",
        )
    if not (np.isfinite(points).all() and ((fails >= 0) & (fails <= trials) & (trials >= 1)).all()):
        raise BadInput(
            "The counts of failures are not counts",
            value=(float(fails.min()), float(fails.max()), float(trials.min())),
            allowed="finite points, 0 <= fails <= trials, trials >= 1",
            where="fails (smallest, largest), trials (smallest)",
        )
    return points, fails, trials

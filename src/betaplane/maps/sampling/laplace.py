"""Laplace's approximation of a Gaussian-process classifier: the posterior's mode, and the Gaussian
around it (Rasmussen & Williams 2006, algorithms 3.1 and 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from betaplane.cached import cached_property

BIAS = 2.0  # standard deviation of the constant part of the latent function, in log-odds
MAX_NEWTON_STEPS = 50  # to the mode; 2 to 10 are taken
TOLERANCE = 1e-3  # gain in log posterior at which Newton's method stops
MIN_STEP_SHARE = 1e-3  # smallest share of a Newton step that is tried
PLACES_AT_ONCE = 4096  # places predicted at once; bounds the memory


@dataclass(frozen=True)
class Kernel:
    """Covariance of the latent function: Matern 5/2 plus a constant."""

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
        """V (m, n) from covariances (m, n) with the points.

        The posterior covariance is k(where, where) - V V^T.
        """
        return (cross * self.root) @ self._whitener.T

    def p_fail(self, where: np.ndarray) -> np.ndarray:
        """Probability that a run at `where` (m, 2) fails, (m,): its posterior median, sigma(mean of
        f).

        The posterior mean would average over the standard deviation, which Laplace's Gaussian makes
        too wide if all labels agree. On maps of 400 to 900 points the median is nearer to the true
        P(fail), on average by a quarter to two thirds.
        """
        parts = [
            self.kernel(where[low : low + PLACES_AT_ONCE], self.points)
            for low in range(0, len(where), PLACES_AT_ONCE)
        ]
        return np.concatenate([sigmoid(cross @ self.slope) for cross in parts])


def sigmoid(f: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-f)), without overflow."""
    return 0.5 * (1 + np.tanh(f / 2))


def laplace(
    kernel: Kernel,
    points: np.ndarray,
    fails: np.ndarray,
    trials: np.ndarray,
    start: np.ndarray | None = None,
) -> Surface:
    """The Gaussian at the mode of f's posterior, searched from f = `start`.

    Args:
        kernel: covariance of f.
        points: (n, 2), trained points.
        fails: (n,), failed runs at each.
        trials: (n,), runs at each.
        start: (n,), initial f; 0 by default.
    """
    covariance = kernel(points, points)
    weights, height = _mode(covariance, fails, trials, start)
    p = sigmoid(covariance @ weights)
    root = np.sqrt(trials * p * (1 - p))
    factor = np.linalg.cholesky(_one_plus(root, covariance))
    evidence = height - float(np.log(np.diag(factor)).sum())
    return Surface(points, kernel, fails - trials * p, root, factor, evidence)


def _mode(
    covariance: np.ndarray, fails: np.ndarray, trials: np.ndarray, start: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """K^-1 f at the mode, (n,), and the log posterior there.

    Newton's method; a step that overshoots is halved.
    """
    weights = np.zeros(len(covariance))
    height = _log_posterior(covariance, weights, fails, trials)
    if start is not None:
        from_start = _newton(covariance, start, fails, trials)
        height_there = _log_posterior(covariance, from_start, fails, trials)
        if height_there > height:
            weights, height = from_start, height_there
    for _ in range(MAX_NEWTON_STEPS):
        target = _newton(covariance, covariance @ weights, fails, trials)
        step, height_there = _uphill_step(
            covariance, weights, target - weights, height, fails, trials
        )
        if step is None:
            return weights, height
        weights, gain, height = weights + step, height_there - height, height_there
        if gain < TOLERANCE:
            break
    return weights, height


def _uphill_step(
    covariance: np.ndarray,
    weights: np.ndarray,
    step: np.ndarray,
    height: float,
    fails: np.ndarray,
    trials: np.ndarray,
) -> tuple[np.ndarray | None, float]:
    """The step, or the largest half, quarter, ... of it that does not lower the log posterior, and
    the log posterior there; None if there is none.
    """
    share = 1.0
    while share >= MIN_STEP_SHARE:
        height_there = _log_posterior(covariance, weights + share * step, fails, trials)
        if not height_there < height:
            return share * step, height_there
        share /= 2
    return None, height


def _newton(
    covariance: np.ndarray, f: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> np.ndarray:
    """K^-1 f after one full Newton step from f (n,)."""
    p = sigmoid(f)
    w = trials * p * (1 - p)
    root, b = np.sqrt(w), w * f + fails - trials * p
    return b - root * np.linalg.solve(_one_plus(root, covariance), root * (covariance @ b))


def _one_plus(root: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """1 + root K root, (n, n): its eigenvalues are at least 1."""
    matrix = root[:, None] * covariance * root
    matrix[np.diag_indices_from(matrix)] += 1
    return matrix


def _log_posterior(
    covariance: np.ndarray, weights: np.ndarray, fails: np.ndarray, trials: np.ndarray
) -> float:
    """Up to a constant, the log posterior of f = K weights: log p(labels | f) - f^T K^-1 f / 2."""
    f = covariance @ weights
    return float((fails * f - trials * np.logaddexp(0, f)).sum() - weights @ f / 2)

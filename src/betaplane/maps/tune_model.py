"""A Gaussian process over settings: what is expected of settings that were not tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

# Options of the kernel, of which the largest likelihood chooses; in units of the heights
AMPLITUDES = (0.1, 0.3, 1.0, 3.0)
NOISES = (0.01, 0.03, 0.1, 0.3)
STRETCHES = (0.7, 1.0, 1.4, 2.0)  # of LENGTHS
LENGTHS = np.array([0.7, 0.7, 1.0])  # decades of lr and of the horizons of beta1 and beta2
JITTER = 1e-9


@dataclass(frozen=True)
class Model:
    """The posterior of the heights of a loss over points in a space of decades.

    The kernel is Matern 5/2; the mean is the mean of the observed heights.
    """

    points: np.ndarray  # (n, 3), where the heights were observed
    heights: np.ndarray  # (n,)
    amplitude: float
    noise: float  # standard deviation
    stretch: float

    def posterior(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the height, without noise, at points (m, 3)."""
        factor, weights = self._solved()
        across = self._kernel(where, self.points)
        mean = self.heights.mean() + across @ weights
        explained = np.square(np.linalg.solve(factor, across.T)).sum(0)
        return mean, np.sqrt(np.maximum(self.amplitude**2 - explained, JITTER))

    def _solved(self) -> tuple[np.ndarray, np.ndarray]:
        covariance = self._kernel(self.points, self.points)
        covariance += (self.noise**2 + JITTER) * np.eye(len(self.points))
        residual = self.heights - self.heights.mean()
        return np.linalg.cholesky(covariance), np.linalg.solve(covariance, residual)

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.amplitude**2 * correlation(a, b, self.stretch)


def correlation(a: np.ndarray, b: np.ndarray, stretch: float) -> np.ndarray:
    """Matern 5/2 between points (m, 3) and (n, 3)."""
    apart = (a[:, None] - b[None]) / (stretch * LENGTHS)
    c = math.sqrt(5) * np.sqrt(np.square(apart).sum(-1))
    return (1 + c + c**2 / 3) * np.exp(-c)


def fitted(points: np.ndarray, heights: np.ndarray) -> Model:
    """The model with the largest likelihood among the options of its kernel."""
    options = [
        (likelihood, (amplitude, noise, stretch))
        for stretch in STRETCHES
        for amplitude, noise, likelihood in _likelihoods(points, heights, stretch)
    ]
    return Model(points, heights, *max(options)[1])


def _likelihoods(
    points: np.ndarray, heights: np.ndarray, stretch: float
) -> list[tuple[float, float, float]]:
    """(amplitude, noise, log likelihood without its constant) of all amplitudes and noises.

    One eigendecomposition of the correlation serves them all.
    """
    values, vectors = np.linalg.eigh(correlation(points, points, stretch))
    squares = np.square(vectors.T @ (heights - heights.mean()))
    found = []
    for amplitude, noise in product(AMPLITUDES, NOISES):
        variances = amplitude**2 * np.maximum(values, 0) + noise**2 + JITTER
        likelihood = -0.5 * float((squares / variances + np.log(variances)).sum())
        found.append((amplitude, noise, likelihood))
    return found


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """How far a height is expected to fall below the best one.

    Source: J. Mockus, V. Tiesis and A. Zilinskas, 1978; D. R. Jones et al., 1998.
    """
    z = (best - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])
    return deviation * (z * below + density)

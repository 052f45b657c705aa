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

    def log_likelihood(self) -> float:
        """Of the observed heights, without the constant."""
        factor, weights = self._solved()
        residual = self.heights - self.heights.mean()
        return float(-0.5 * residual @ weights - np.log(np.diag(factor)).sum())

    def _solved(self) -> tuple[np.ndarray, np.ndarray]:
        covariance = self._kernel(self.points, self.points)
        covariance += (self.noise**2 + JITTER) * np.eye(len(self.points))
        residual = self.heights - self.heights.mean()
        return np.linalg.cholesky(covariance), np.linalg.solve(covariance, residual)

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        apart = (a[:, None] - b[None]) / (self.stretch * LENGTHS)
        c = math.sqrt(5) * np.sqrt(np.square(apart).sum(-1))
        return self.amplitude**2 * (1 + c + c**2 / 3) * np.exp(-c)


def fitted(points: np.ndarray, heights: np.ndarray) -> Model:
    """The model with the largest likelihood among the options of its kernel."""
    options = product(AMPLITUDES, NOISES, STRETCHES)
    models = [Model(points, heights, *option) for option in options]
    return max(models, key=Model.log_likelihood)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """How far a height is expected to fall below the best one.

    Source: J. Mockus, V. Tiesis and A. Zilinskas, 1978; D. R. Jones et al., 1998.
    """
    z = (best - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])
    return deviation * (z * below + density)

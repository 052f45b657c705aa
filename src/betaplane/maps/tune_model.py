"""A Gaussian process over settings: what is expected of settings that were not tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

# Options of the kernel, of which the largest likelihood chooses; in units of the heights
AMPLITUDES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NOISES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
STRETCHES = (0.5, 0.7, 1.0, 1.4, 2.0)  # of the lengths
# Decades of lr and of the horizons of beta1 and beta2. The first has the largest likelihood on the
# seven problems named in the benchmark of `tune`: the loss varies slowly with the betas. The others
# are for problems on which it does not, and must be more likely by the factor exp(2) each.
LENGTHS = ((1.0, 7.0, 20.0), (0.8, 2.0, 4.0), (0.7, 0.7, 1.0))
PENALTY = 2.0
JITTER = 1e-9


@dataclass(frozen=True)
class Model:
    """The posterior of the heights of a loss over points in a space of decades.

    The kernel is Matern 5/2; the mean is an unknown constant (ordinary kriging).
    """

    points: np.ndarray  # (n, 3), where the heights were observed
    heights: np.ndarray  # (n,)
    amplitude: float
    noise: float  # standard deviation
    lengths: tuple[float, ...]  # decades of lr and of the horizons of beta1 and beta2

    def posterior(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the height, without noise, at points (m, 3)."""
        covariance = self._kernel(self.points, self.points)
        covariance += (self.noise**2 + JITTER) * np.eye(len(self.points))
        inverse = np.linalg.inv(covariance)
        across = self._kernel(where, self.points)
        of_constant = inverse.sum(0)
        precision = of_constant.sum()
        constant = of_constant @ self.heights / precision
        mean = constant + across @ inverse @ (self.heights - constant)
        explained = np.einsum("ij,jk,ik->i", across, inverse, across)
        unknown = np.square(1 - across @ of_constant) / precision
        return mean, np.sqrt(np.maximum(self.amplitude**2 - explained + unknown, JITTER))

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.amplitude**2 * correlation(a, b, self.lengths)


def correlation(a: np.ndarray, b: np.ndarray, lengths: Sequence[float]) -> np.ndarray:
    """Matern 5/2 between points (m, 3) and (n, 3)."""
    apart = (a[:, None] - b[None]) / np.array(lengths)
    c = math.sqrt(5) * np.sqrt(np.square(apart).sum(-1))
    return (1 + c + c**2 / 3) * np.exp(-c)


def fitted(points: np.ndarray, heights: np.ndarray) -> Model:
    """The model with the largest likelihood among the options of its kernel."""
    options = [
        (likelihood - PENALTY * k, (amplitude, noise, stretched))
        for (k, lengths), stretch in product(enumerate(LENGTHS), STRETCHES)
        for stretched in [tuple(stretch * length for length in lengths)]
        for amplitude, noise, likelihood in _likelihoods(points, heights, stretched)
    ]
    return Model(points, heights, *max(options)[1])


def _likelihoods(
    points: np.ndarray, heights: np.ndarray, lengths: Sequence[float]
) -> list[tuple[float, float, float]]:
    """(amplitude, noise, log likelihood without its constant) of all amplitudes and noises.

    The likelihood is that of the contrasts of the heights, which do not depend on their mean. One
    eigendecomposition of the correlation serves them all.
    """
    contrasts = np.linalg.qr(np.ones((len(points), 1)), mode="complete")[0][:, 1:]
    values, vectors = np.linalg.eigh(contrasts.T @ correlation(points, points, lengths) @ contrasts)
    squares = np.square(vectors.T @ contrasts.T @ heights)
    options = list(product(AMPLITUDES, NOISES))
    amplitude, noise = np.array(options).T[..., None]
    variances = amplitude**2 * np.maximum(values, 0) + noise**2 + JITTER
    likelihood = -0.5 * (squares / variances + np.log(variances)).sum(1)
    return [(*option, float(value)) for option, value in zip(options, likelihood, strict=True)]

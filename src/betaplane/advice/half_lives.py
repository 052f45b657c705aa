"""The best half-life of v in published sweeps: a point and a window, from one likelihood.

The logarithm of the best half-life of sweep i is normal, x_i ~ N(mu, omega^2). A sweep with values on
both sides of its best one observes x_i with an error: the best value is known to the step of its
grid, and a flat optimum is blurred by the noise of the loss. A sweep whose best value is its last
one observes only x_i > bound, a censored observation. All sources have the same weight.

```
log p = sum_i w_i log N(y_i; mu, omega^2 + s_i^2) + sum_j w_j log Phi((mu - bound_j) / omega)
s_i^2 = step^2 / 12 + (step noise / (sqrt(8) rise))^2
```

The rise is the mean increase of the loss one step away from the best value; the second term of s_i
is the error of a parabola's vertex. The prior of omega is an inverse chi-square of PRIOR_SAMPLES
observations with a deviation of PRIOR_DEVIATION; without it a few sources that agree by chance would
give a window that excludes the next one. The prior of mu is normal: a weak one from recipes if there
are any, else nearly flat.

The window is meant to hold 90% of the best half-lives of new sweeps, x ~ N(mu, omega^2) over the
posterior, and is cut to MAX_WINDOW decades. The point lies above its center, because a half-life
that is too short costs more than one that is too long: in the published grids the loss of sweeps
with an optimum inside rises about twice as much at a quarter of the best half-life as at four times
it (`python -m benchmarks.advise`). It minimizes the expected squared error in which errors from
below count twice (asymmetric least squares).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

MAX_WINDOW = 1.1  # decades; a wider window would exclude too little to be advice
MAX_KNOWN = 1.5  # decades; a wider spread counts as unknown
COVERAGE = 1.645  # deviations to each side that hold 90% of a normal distribution
POINT = 0.276  # deviations above the mean: the 2/3 expectile of a normal distribution
PRIOR_DEVIATION = 0.3  # decades, a factor of two: the step of most published grids
PRIOR_SAMPLES = 8
FLAT = (0.0, 100.0)  # prior of mu without recipes: mean and deviation, in decades
LOSS_NOISE = 0.005  # nats, one deviation over seeds (Orvieto & Gower 2025, table 1)


@dataclass(frozen=True)
class Observation:
    """The evidence of one sweep about its best half-life, in decades."""

    source: str
    value: float  # log10 of the best half-life, or a bound of it
    deviation: float = 0.0  # error of the value; 0 for a bound
    side: int = 0  # 1 if the optimum lies above the value, -1 if below, 0 if it is the value


@dataclass(frozen=True)
class Spread:
    """The half-lives, in units, that were best in sweeps: a window, and the one to take."""

    point: float
    low: float
    high: float
    sources: tuple[str, ...]
    decades: float = math.nan  # width that holds 90% of the best half-lives, before it is capped

    @property
    def known(self) -> bool:
        """Whether the sweeps agree well enough to give advice."""
        return self.decades <= MAX_KNOWN


@cache
def spread(
    observations: tuple[Observation, ...], prior: tuple[float, float] | None = None
) -> Spread:
    """The point and window of observed half-lives.

    Args:
        observations: at least one.
        prior: mean and deviation of the center's logarithm before any observation, in decades.

    Returns:
        Their spread. The window is at most MAX_WINDOW decades wide.

    Source: the likelihood above.

    Example:
        >>> sweeps = (Observation("a", 7.0, 0.1), Observation("b", 7.4, 0.1))
        >>> bounds = (Observation("c", 7.3, side=1),)
        >>> f"{spread(sweeps).point:.3g}, with a bound from below {spread(sweeps + bounds).point:.3g}"
        '2.07e+07, with a bound from below 2.83e+07'
    """
    mu, deviation = _predicted(observations, prior or FLAT)
    decades = 2 * COVERAGE * deviation
    half = min(decades, MAX_WINDOW) / 2
    sources = tuple(dict.fromkeys(one.source for one in observations))
    point, low, high = (10.0 ** (mu + offset) for offset in (POINT * deviation, -half, half))
    return Spread(point, low, high, sources, decades)


def deviation_of(step: float, rise: float, noise: float = LOSS_NOISE) -> float:
    """The error of the best value of a grid, in the unit of its step.

    Args:
        step: distance to the neighboring values of the grid, > 0.
        rise: mean increase of the loss one step away, > 0.
        noise: deviation of a loss over seeds, >= 0.

    Returns:
        The deviation.

    Example:
        >>> f"sharp {deviation_of(0.3, rise=0.1):.3f}, flat {deviation_of(0.3, rise=0.002):.3f}"
        'sharp 0.087, flat 0.279'
    """
    return math.hypot(step / math.sqrt(12), step * noise / (math.sqrt(8) * rise))


def _predicted(
    observations: Sequence[Observation], prior: tuple[float, float]
) -> tuple[float, float]:
    """Mean and deviation of the best half-life of a new sweep, over the posterior."""
    values = [one.value for one in observations]
    mu = np.linspace(min(values) - 1.5, max(values) + 1.5, 201)[:, None]
    omega = np.geomspace(0.05, 3.0, 40)
    log_p = _log_likelihood(observations, mu, omega)
    log_p -= PRIOR_SAMPLES * (np.log(omega) + PRIOR_DEVIATION**2 / (2 * omega**2))
    log_p -= (mu - prior[0]) ** 2 / (2 * prior[1] ** 2)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = float((p * mu).sum())
    return mean, math.sqrt((p * ((mu - mean) ** 2 + omega**2)).sum())


def _log_likelihood(
    observations: Iterable[Observation], mu: np.ndarray, omega: np.ndarray
) -> np.ndarray:
    observations = list(observations)
    number = Counter(one.source for one in observations)
    total = np.zeros((len(mu), len(omega)))
    for one in observations:
        deviation = np.hypot(omega, one.deviation)
        z = (mu - one.value) / deviation
        term = _log_phi(one.side * z) if one.side else -(z**2) / 2 - np.log(deviation)
        total += term / number[one.source]
    return total


def _log_phi(z: np.ndarray) -> np.ndarray:
    """The logarithm of the normal distribution function, at least log(1e-300)."""
    tail = np.vectorize(math.erfc)(-z / math.sqrt(2)) / 2
    return np.log(np.maximum(tail, 1e-300))

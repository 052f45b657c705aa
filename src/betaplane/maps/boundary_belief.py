"""Where the boundary of failure lies along beta2: a belief, what runs make of it, and the runs that
reduce its uncertainty most.

Positions are decades of the memory horizon 1 / (1 - beta2): 0 for beta2 = 0, 2 for 0.99. The belief
is a probability of each position b of the boundary. A run at position q fails with probability

    P(fail | b, q) = LAPSE + (1 - 2 LAPSE) / (1 + exp((q - b) / WIDTH))

The worth of a run is the information about b that it gives beyond those chosen before it:
H(outcome | their outcomes) - H(outcome | b), in expectation over their outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

PLACES = 161  # positions of the boundary
CANDIDATES = 81  # positions of runs
WIDTH = 0.06  # decades in which runs fail with some seeds only
LAPSE = 0.02  # share of runs that end unlike their position, such as by another cause
# of a predicted boundary: replays were off by 0.3 decades at most on 15 of 16 maps
ERROR = 0.3
UNPREDICTED = 0.15  # probability that no prediction is right
CLEARLY = 3 * WIDTH  # decades from the boundary
SPACING = 0.05  # decades between two runs, at least
MAX_RUNS = 12  # chosen at once; the work doubles with each


@dataclass(frozen=True)
class Belief:
    """Probabilities of the positions of the boundary."""

    places: np.ndarray  # (PLACES,), decades
    weight: np.ndarray  # (PLACES,), sum 1

    def quantile(self, share: float) -> float:
        """The position below which the boundary lies with this probability."""
        total = np.cumsum(self.weight)
        return float(np.interp(share, total - self.weight / 2, self.places))

    def interval(self, share: float = 0.9) -> tuple[float, float]:
        """The middle interval that contains the boundary with this probability."""
        return self.quantile((1 - share) / 2), self.quantile((1 + share) / 2)

    def deviation(self) -> float:
        """The standard deviation of the boundary, in decades."""
        mean = float(self.weight @ self.places)
        return float(np.sqrt(self.weight @ (self.places - mean) ** 2))

    def after(self, runs: Iterable[tuple[float, bool]]) -> Belief:
        """The belief after runs at these positions have failed, or not."""
        weight = self.weight.copy()
        for place, failed in runs:
            p = p_fail(np.array([place]), self.places)[0]
            weight *= p if failed else 1 - p
        return Belief(self.places, weight / weight.sum())


def contradictions(runs: Sequence[tuple[float, bool]]) -> int:
    """The number of runs that no single boundary explains: failures clearly above it, or runs clearly
    below it that do not fail.

    Example:
        >>> contradictions([(0.0, True), (1.0, False), (2.0, False)])
        0
        >>> contradictions([(0.0, True), (1.0, False), (2.0, True), (3.0, True)])
        1
    """
    if not runs:
        return 0
    places, failed = (np.array(column) for column in zip(*runs, strict=True))
    away = places - np.linspace(-1.0, places.max() + 1.0, PLACES)[:, None]
    wrong = np.where(failed, away > CLEARLY, away < -CLEARLY)
    return int(wrong.sum(axis=1).min())


def p_fail(runs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Probability that runs at `runs` (m,) fail if the boundary is at `places` (n,); (m, n)."""
    z = (runs[:, None] - places) / WIDTH
    return LAPSE + (1 - 2 * LAPSE) * 0.5 * (1 - np.tanh(z / 2))


def belief(low: float, high: float, predictions: Sequence[float]) -> Belief:
    """The belief before any run.

    Args:
        low: the lowest position that the boundary can have.
        high: the highest.
        predictions: positions that a replay and other maps predict; each is as probable as another.
            None of them is right with probability UNPREDICTED.

    Example:
        >>> first = belief(0, 4, [1.0])
        >>> [round(end, 1) for end in first.interval()]
        [0.5, 2.7]
        >>> second = first.after([(0.8, True), (1.2, False)])
        >>> [round(end, 1) for end in second.interval()]
        [0.8, 1.2]
    """
    places = np.linspace(low, high, PLACES)
    weight = np.full(PLACES, (UNPREDICTED if predictions else 1.0) / PLACES)
    for center in predictions:
        bump = np.exp(-0.5 * ((places - min(max(center, low), high)) / ERROR) ** 2)
        weight += (1 - UNPREDICTED) / len(predictions) * bump / bump.sum()
    return Belief(places, weight / weight.sum())


@dataclass(frozen=True)
class Choice:
    """Runs to confirm a boundary, and the uncertainty that they are expected to leave."""

    places: tuple[float, ...]  # decades, in the order of their worth
    deviation: float  # expected standard deviation of the boundary after them, decades


def choose(prior: Belief, count: int) -> Choice:
    """The runs that are worth most together, before the outcome of any of them is known.

    Args:
        prior: the belief.
        count: number of runs, in [1, MAX_RUNS].

    Example:
        >>> chosen = choose(belief(0, 4, [1.0]), 3)
        >>> chosen.deviation < belief(0, 4, [1.0]).deviation() / 2
        True
    """
    runs = np.linspace(prior.places[0], prior.places[-1], CANDIDATES)
    fails = p_fail(runs, prior.places)
    noise = _entropy(fails) @ prior.weight
    joint = prior.weight[None, :]  # (outcomes of the chosen runs, places)
    free = np.ones(len(runs), bool)
    chosen: list[int] = []
    for _ in range(count):
        best = int(np.where(free, _information(joint, fails, noise), -np.inf).argmax())
        chosen.append(best)
        free &= np.abs(runs - runs[best]) >= SPACING - 1e-9
        joint = np.concatenate([joint * fails[best], joint * (1 - fails[best])])
    return Choice(tuple(float(runs[k]) for k in chosen), _expected_deviation(joint, prior.places))


def _information(joint: np.ndarray, fails: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The information of each candidate beyond the runs whose outcomes are the rows; (m,)."""
    probability = joint.sum(axis=1)
    given = joint @ fails.T / np.maximum(probability, 1e-300)[:, None]
    return probability @ _entropy(given) - noise


def _entropy(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


def _expected_deviation(joint: np.ndarray, places: np.ndarray) -> float:
    """The standard deviation that is left, on average over the outcomes."""
    probability = np.maximum(joint.sum(axis=1), 1e-300)
    mean = joint @ places / probability
    variance = np.maximum(joint @ places**2 / probability - mean**2, 0.0)
    return float(probability @ np.sqrt(variance))

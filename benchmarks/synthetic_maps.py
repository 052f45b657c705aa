"""Synthetic maps with known verdicts, for the tests and the benchmarks of sampling and watching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from betaplane.maps.grid import Axis, axis
from betaplane.maps.phase_map import FAILING, GOOD, Cell, Spot, Thresholds
from betaplane.maps.sampling.ask_tell import Chooser
from betaplane.maps.verdicts import verdict


def train(chooser: Chooser, label: Callable[[Spot, int], int]) -> dict[Spot, list[int]]:
    """Ask and tell until the chooser is done; `label(cell, seed)` is the verdict of one run."""
    labels: dict[Spot, list[int]] = {}
    while batch := chooser.ask():
        for cell, seeds in batch:
            labels[cell] = [label(cell, seed) for seed in range(seeds)]
        chooser.tell(labels)
    return labels


def counterexample(nx: int, ny: int, n: int = 20, a: float = 1.0) -> np.ndarray:
    """Verdicts on the cyclic counterexample by the sign of Adam's stationary drift, (nx, ny).

    With G = 1 + (n - 1) a and j = 0 .. n - 1 steps after the big component, S = sum_j m_j /
    sqrt(v_j), m_j = -a + (1 - beta1) beta1^j (G + a) / (1 - beta1^n), v_j = a^2 + (1 - beta2)
    beta2^j (G^2 - a^2) / (1 - beta2^n); Adam diverges if S < 0 (the counterexample of Zhang et al.
    2022, arXiv:2208.09632). The horizons of beta1 (1 to 100) and beta2 (1 to 10^4) are evenly
    spaced in their logarithm.
    """
    beta1 = (1 - 10 ** -np.linspace(0, 2, nx))[:, None, None]
    beta2 = (1 - 10 ** -np.linspace(0, 4, ny))[None, :, None]
    j, big = np.arange(n), 1 + (n - 1) * a
    m = -a + (1 - beta1) * beta1**j * (big + a) / (1 - beta1**n)
    v = a**2 + (1 - beta2) * beta2**j * (big**2 - a**2) / (1 - beta2**n)
    return np.where((m / np.sqrt(v)).sum(axis=2) < 0, FAILING, GOOD).astype(np.int8)


@dataclass(frozen=True)
class Bay:
    """The unit square, failing below a wave and on an island above it; `variant` varies both."""

    variant: int
    points: int  # cells per side

    def distance(self) -> np.ndarray:
        """Signed distance of each cell's center to the boundary, > 0 for failing cells, (points,
        points).
        """
        random = np.random.default_rng(self.variant)
        level, height = 0.35 + random.uniform(-0.03, 0.03), 0.15 + random.uniform(-0.02, 0.02)
        phase, radius, left = (
            random.uniform(-0.1, 0.1),
            random.uniform(0.08, 0.12),
            random.uniform(0.15, 0.85),
        )

        def wave(x: np.ndarray) -> np.ndarray:
            return level + height * np.sin(2 * np.pi * (x + phase))

        shore = wave(left + np.linspace(-radius, radius, 50)).max()
        up = random.uniform(shore + radius + 0.06, 1 - radius - 0.03)
        x, y = np.meshgrid(self.centers, self.centers, indexing="ij")
        island = radius - np.hypot(x - left, y - up)
        along = np.arange(-0.3, 1.3, 0.004)
        off = np.stack(
            [_to_curve(column, self.centers, along, wave(along)) for column in self.centers]
        )
        return np.maximum(np.where(y < wave(x), off, -off), island)

    @property
    def centers(self) -> np.ndarray:
        return (np.arange(self.points) + 0.5) / self.points

    def p_fail(self, width: float) -> np.ndarray:
        """P(fail) = 1 / (1 + exp(-distance / width)), or 0 and 1 if the width is 0."""
        distance = self.distance()
        return (
            1 / (1 + np.exp(-np.clip(distance / width, -50, 50)))
            if width
            else (distance > 0).astype(float)
        )


def _to_curve(x: float, ys: np.ndarray, curve_x: np.ndarray, curve_y: np.ndarray) -> np.ndarray:
    return np.sqrt(
        ((curve_x - x)[None, :] ** 2 + (curve_y[None, :] - ys[:, None]) ** 2).min(axis=1)
    )


def labels(p_fail: np.ndarray, seed: int, trainings: int = 8) -> Callable[[Spot, int], int]:
    """Random verdicts, drawn once per cell and run, so that they do not depend on the order."""
    fails = np.random.default_rng(seed).random((*p_fail.shape, trainings)) < p_fail[..., None]
    return lambda spot, number: FAILING if fails[spot][number] else GOOD


def tongue(points: int, width: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells that fail (below y = 0.3 and on a strip from there), and the cells of the strip; bool,
    (points, points) each.

    The strip is 0.45 long and `width` cells wide, with a random place and direction (60 to 120
    degrees).
    """
    random = np.random.default_rng(seed)
    base, angle = np.array([random.uniform(0.3, 0.7), 0.28]), np.radians(random.uniform(60, 120))
    centers = (np.arange(points) + 0.5) / points
    x, y = np.meshgrid(centers, centers, indexing="ij")
    along = (x - base[0]) * np.cos(angle) + (y - base[1]) * np.sin(angle)
    across = -(x - base[0]) * np.sin(angle) + (y - base[1]) * np.cos(angle)
    strip = (along > 0) & (along < 0.45) & (np.abs(across) <= width / points / 2) & (y >= 0.3)
    return strip | (y < 0.3), strip


def random_scores(seed: int) -> tuple[Axis, Axis, dict[Spot, Cell], np.ndarray]:
    """A map with random ranges, noise and regions, as the arguments of `recommend`: axes, cells of a
    random part of the grid, and all verdicts.
    """
    rng = np.random.default_rng(seed)
    x = axis("beta1", float(rng.choice([0.0, 0.5])), float(rng.choice([0.9, 0.99, 0.999])), 8)
    y = axis("beta2", float(rng.choice([0.0, 0.9])), float(rng.choice([0.99, 0.9999])), 8)
    px, py = np.meshgrid(x.positions, y.positions, indexing="ij")
    slope, offset, noise = rng.uniform(-1, 2), rng.uniform(-1, 2), rng.choice([0.0, 0.3, 1.0])
    height = offset + slope * px - py + noise * rng.normal(size=px.shape)
    scores = 1 / (1 + np.exp(-4 * height))
    cells: dict[Spot, Cell] = {}
    for i, j in np.ndindex(scores.shape):
        settings = {"beta1": x.values[i], "beta2": y.values[j]}
        final = float(scores[i, j])
        judged = verdict(final, Thresholds())
        cells[i, j] = Cell(settings, (final,), final, judged, 0.0, 0.0, 1.0, np.array([final]))
    verdicts = np.array([[cells[i, j].verdict for j in range(len(y))] for i in range(len(x))])
    trained = {spot: cell for spot, cell in cells.items() if rng.random() < 0.7}
    return x, y, trained, verdicts

"""Verdicts from losses, and the recommended setting from verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from betaplane.maps.grid import BETAS, Axis, position
from betaplane.maps.phase_map import (
    DEGRADED,
    FAILING,
    GOOD,
    Cell,
    Curve,
    Mark,
    Recommendation,
    Spot,
    Thresholds,
)
from betaplane.maps.sampling.wilson import wilson

# In decades of memory horizon. A cell this far from any failure is safe; beyond this distance, a
# lower loss counts more.
SAFE_DISTANCE = 1.0
CURVE_POINTS = 200


def score(final: float, initial: float, best: float) -> float:
    """(final - best) / (initial - best): 0 is the best loss, 1 the loss before training, inf
    divergence.

    Args:
        final: loss after training; inf or nan if the run diverged.
        initial: loss before training.
        best: the lowest loss.

    Example:
        >>> score(0.2, initial=2.2, best=0.2), score(float("inf"), initial=2.2, best=0.2)
        (0.0, inf)
    """
    if not math.isfinite(final):
        return math.inf
    span = initial - best
    return (final - best) / span if span > 0 else (0.0 if final <= best else math.inf)


def verdict(score: float, thresholds: Thresholds) -> int:
    """GOOD below thresholds.good, FAILING above thresholds.failing, else DEGRADED."""
    if score < thresholds.good:
        return GOOD
    return FAILING if not score <= thresholds.failing else DEGRADED


def judge(
    settings: Mapping[str, Any],
    finals: Sequence[float],
    curves: Sequence[np.ndarray],
    initial: float,
    best: float,
    thresholds: Thresholds,
) -> Cell:
    """The cell that these runs, one per seed, amount to.

    Args:
        settings: the cell's hyperparameters.
        finals: final loss of each seed.
        curves: loss curve of each seed, (points,).
        initial: loss before training, which scores 1.
        best: the loss that scores 0.
        thresholds: scores at which the verdict changes.
    """
    scores = [score(final, initial, best) for final in finals]
    middle = _upper_median(scores)
    fails = sum(verdict(s, thresholds) == FAILING for s in scores)
    low, high = wilson(fails, len(scores))
    return Cell(
        settings=dict(settings),
        finals=tuple(finals),
        score=middle,
        verdict=verdict(middle, thresholds),
        p_fail=fails / len(scores),
        p_low=float(low),
        p_high=float(high),
        curve=curves[scores.index(middle)],
    )


def _upper_median(scores: Sequence[float]) -> float:
    """The median; of an even number, the upper of the middle two.

    So one divergence out of two runs is not hidden.
    """
    return sorted(scores)[len(scores) // 2]


def recommend(
    x: Axis, y: Axis, cells: Mapping[Spot, Cell], verdicts: np.ndarray
) -> Recommendation | None:
    """The most robust good cell: farthest from any cell that is not good, up to `SAFE_DISTANCE`;
    then the lowest score.

    Cells beyond the map's edge are unknown. So the edge counts as not good, one cell out, unless no
    value exists beyond it (beta = 0).

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        cells: the trained cells.
        verdicts: (nx, ny), of every cell of the grid.

    Returns:
        The recommendation; None if no trained cell is good.
    """
    good = [spot for spot, cell in cells.items() if cell.verdict == GOOD]
    if not good:
        return None
    px, py = x.positions, y.positions
    bad = np.argwhere(verdicts != GOOD)
    points = np.stack([px[bad[:, 0]], py[bad[:, 1]]], axis=1)

    def clearance(spot: Spot) -> float:
        here = np.array([px[spot[0]], py[spot[1]]])
        return float(np.sqrt(((points - here) ** 2).sum(axis=1)).min()) if len(points) else math.inf

    def rank(spot: Spot) -> tuple[float, float, Spot]:
        distance = min(clearance(spot), _edge_distance(x, spot[0]), _edge_distance(y, spot[1]))
        return -round(min(distance, SAFE_DISTANCE), 9), cells[spot].score, spot

    spot = min(good, key=rank)
    low, high = _good_range(verdicts[spot[0]] == GOOD, spot[1])
    distance = clearance(spot)
    reason = _reason(y, distance, low, high)
    window = (y.values[low], y.values[high])
    return Recommendation(cells[spot].settings, spot, distance, window, reason)


def _edge_distance(axis: Axis, index: int) -> float:
    """Distance to the nearest value beyond the axis, which was not examined, in decades."""
    positions = axis.positions
    spacing = float(np.diff(positions).mean())
    above = positions[-1] - positions[index] + spacing
    if axis.name in BETAS and axis.values[0] == 0:
        return float(above)
    return float(min(above, positions[index] - positions[0] + spacing))


def _good_range(good: np.ndarray, index: int) -> tuple[int, int]:
    """The first and last index of the contiguous good cells around an index."""
    low = high = index
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return low, high


def _reason(y: Axis, distance: float, low: int, high: int) -> str:
    if math.isinf(distance):
        return "Every cell of the map is good; this one lies farthest from its edges."
    first = "the map's lower edge" if low == 0 else f"{y.name} = {y.values[low]:.6g}"
    at_upper_edge = high == len(y) - 1
    last = "the map's upper edge" if at_upper_edge else f"{y.name} = {y.values[high]:.6g}"
    return (
        f"It lies farthest inside the good region: {10**distance:.2g} times in memory horizon "
        f"({distance:.2f} decades) from the nearest cell that is not good; at this setting "
        f"training is good from {first} to {last}."
    )


def mark(
    label: str, settings: Mapping[str, Any], x: Axis, y: Axis, verdicts: np.ndarray
) -> Mark | None:
    """A setting as a mark on the map.

    Args:
        label: the text next to the mark.
        settings: hyperparameters by name.
        x: the horizontal axis.
        y: the vertical axis.
        verdicts: (nx, ny), of every cell of the grid.

    Returns:
        The mark; None if the settings lack a hyperparameter of an axis.
    """
    if x.name not in settings or y.name not in settings:
        return None
    values = float(settings[x.name]), float(settings[y.name])
    here = position(x.name, values[0]), position(y.name, values[1])
    px, py = x.positions, y.positions
    distances = np.hypot(px[:, None] - here[0], py[None, :] - here[1])
    i, j = np.unravel_index(int(np.argmin(distances)), distances.shape)
    margin = max(float(np.diff(px).max()), float(np.diff(py).max()))
    if not all(p[0] - margin <= at <= p[-1] + margin for p, at in zip((px, py), here, strict=True)):
        return Mark(label, *values, None, math.inf)
    others = distances[verdicts != verdicts[i, j]]
    distance = float(others.min()) if len(others) else math.inf
    return Mark(label, *values, int(verdicts[i, j]), distance)


def known_curves(x: Axis, y: Axis, boundary: Any | None) -> tuple[Curve, ...]:
    """On a (beta1, beta2) map: beta1 = sqrt(beta2), beta1 = beta2, and the exact boundary if known.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        boundary: the problem's exact critical beta2 as a function of beta1; None if unknown.
    """
    if (x.name, y.name) != ("beta1", "beta2"):
        return ()
    beta1 = 1 - 10.0 ** -np.linspace(0, position("beta1", x.values[-1]), CURVE_POINTS)
    curves = [Curve("beta1 = sqrt(beta2)", beta1, beta1**2), Curve("beta1 = beta2", beta1, beta1)]
    if boundary is not None:
        coarse = beta1[::4]
        exact = np.array([boundary(float(b)) for b in coarse])
        if np.isfinite(exact).any():
            curves.append(Curve("exact boundary", coarse, exact))
    return tuple(curves)

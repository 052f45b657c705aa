"""From losses to verdicts, and from verdicts to the setting to take."""

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
from betaplane.maps.sampling.gaussian_process import wilson

# decades: ten times in memory horizon off any trouble is safe; beyond that, a lower loss is worth
# more
ENOUGH = 1.0


def score(final: float, initial: float, best: float) -> float:
    """(final - best) / (initial - best): 0 is as good as it gets, 1 is where training began, inf is
    divergence.

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
    """The cell that some trainings, one a seed, add up to."""
    scores = [score(final, initial, best) for final in finals]
    middle = _median(scores)
    fails = sum(verdict(s, thresholds) == FAILING for s in scores)
    low, high = wilson(fails, len(scores))
    nearest = min(
        range(len(scores)), key=lambda i: abs(scores[i] - middle) if scores[i] != middle else 0.0
    )
    return Cell(
        settings=dict(settings),
        finals=tuple(finals),
        score=middle,
        verdict=verdict(middle, thresholds),
        p_fail=fails / len(scores),
        p_low=float(low),
        p_high=float(high),
        curve=curves[nearest],
    )


def _median(scores: Sequence[float]) -> float:
    """The median; of an even number, the upper of the middle two, so that one divergence in two is
    not hidden.
    """
    return sorted(scores)[len(scores) // 2]


def recommend(
    x: Axis, y: Axis, cells: Mapping[Spot, Cell], verdicts: np.ndarray
) -> Recommendation | None:
    """The most robust good cell: farthest from any cell that is not good, up to `ENOUGH`; then the
    lowest score.

    Cells beyond the map's edge are unknown, so the edge counts as not good, one cell out, except where a value has
    nothing beyond it (beta = 0). None where no trained cell is good.
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

    def robust(spot: Spot) -> tuple[float, float, Spot]:
        inside = min(clearance(spot), _to_edge(x, px, spot[0]), _to_edge(y, py, spot[1]))
        return -round(min(inside, ENOUGH), 9), cells[spot].score, spot

    spot = min(good, key=robust)
    low, high = _window(verdicts[spot[0]] == GOOD, spot[1])
    window = (y.values[low], y.values[high])
    distance = clearance(spot)
    return Recommendation(
        cells[spot].settings, spot, distance, window, _reason(y, distance, window, low, high)
    )


def _to_edge(axis: Axis, positions: np.ndarray, index: int) -> float:
    """Distance to the nearest value beyond the axis that nobody looked at, in decades."""
    spacing = float(np.diff(positions).mean())
    below = (
        math.inf
        if axis.name in BETAS and axis.values[0] == 0
        else positions[index] - positions[0] + spacing
    )
    return float(min(below, positions[-1] - positions[index] + spacing))


def _window(good: np.ndarray, index: int) -> tuple[int, int]:
    """The ends of the run of good cells around an index."""
    low = high = index
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return low, high


def _reason(y: Axis, distance: float, window: tuple[float, float], low: int, high: int) -> str:
    if math.isinf(distance):
        return "Every cell of the map is good; this one lies farthest from its edges."
    ends = ["the map's lower edge" if low == 0 else f"{y.name} = {window[0]:.6g}"]
    ends.append("the map's upper edge" if high == len(y) - 1 else f"{y.name} = {window[1]:.6g}")
    return (
        f"It lies farthest inside the good region: {10**distance:.2g} times in memory horizon ({distance:.2f} decades) "
        f"from the nearest cell that is not good; at this setting training is good from {ends[0]} to {ends[1]}."
    )


def mark(
    label: str, settings: Mapping[str, Any], x: Axis, y: Axis, verdicts: np.ndarray
) -> Mark | None:
    """A setting as a mark on the map; None where it does not say what the axes ask."""
    if x.name not in settings or y.name not in settings:
        return None
    at = float(settings[x.name]), float(settings[y.name])
    px, py = x.positions, y.positions
    here = position(x.name, at[0]), position(y.name, at[1])
    apart = np.hypot(px[:, None] - here[0], py[None, :] - here[1])
    half = max(float(np.diff(px).max()), float(np.diff(py).max()))
    i, j = np.unravel_index(int(np.argmin(apart)), apart.shape)
    inside = px[0] - half <= here[0] <= px[-1] + half and py[0] - half <= here[1] <= py[-1] + half
    found = int(verdicts[i, j]) if inside else None
    others = apart[verdicts != verdicts[i, j]]
    return Mark(label, *at, found, float(others.min()) if inside and len(others) else math.inf)


def known_curves(x: Axis, y: Axis, boundary: Any | None) -> tuple[Curve, ...]:
    """beta1 = sqrt(beta2), beta1 = beta2, and the exact boundary where it is known, on a (beta1,
    beta2) map.
    """
    if (x.name, y.name) != ("beta1", "beta2"):
        return ()
    beta1 = 1 - 10.0 ** -np.linspace(0, position("beta1", x.values[-1]), 200)
    curves = [Curve("beta1 = sqrt(beta2)", beta1, beta1**2), Curve("beta1 = beta2", beta1, beta1)]
    if boundary is not None:
        coarse = beta1[::4]
        exact = np.array([boundary(float(b)) for b in coarse])
        if np.isfinite(exact).any():
            curves.append(Curve("exact boundary", coarse, exact))
    return tuple(curves)

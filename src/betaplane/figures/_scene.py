"""Contents of a map figure in positions and colors, independent of the output format."""

from __future__ import annotations

import numpy as np

from betaplane.figures._ticks import edges, inside, place
from betaplane.maps.phase_map import (
    DEGRADED,
    FAILING,
    GOOD,
    Cell,
    Curve,
    Mark,
    PhaseMap,
    Thresholds,
)

SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # a cell and its neighbors
# decades above its threshold at which a failing score is as dark as a diverged one
DARKEST_DECADES = 2.0


def shades(phase_map: PhaseMap) -> np.ndarray:
    """Position of each cell within the scores of its verdict, shape (len(x), len(y)), in [0, 1].

    Trained cells have the position of the logarithm of their score. The others are interpolated
    from trained cells of the same verdict, for display only.
    """
    shades = np.full(phase_map.verdicts.shape, np.nan)
    best = _best_score(phase_map)
    for spot, cell in phase_map.cells.items():
        shades[spot] = _shade(cell, int(phase_map.verdicts[spot]), best, phase_map.thresholds)
    trained = np.isfinite(shades)
    for verdict in (GOOD, DEGRADED, FAILING):
        here = phase_map.verdicts == verdict
        known, unknown = np.argwhere(here & trained), np.argwhere(here & ~trained)
        shades[tuple(unknown.T)] = _spread(known, shades[tuple(known.T)], unknown)
    return _smooth(shades, trained, phase_map.verdicts)


def _smooth(
    values: np.ndarray, fixed: np.ndarray, verdicts: np.ndarray, rounds: int = 20
) -> np.ndarray:
    """Replace values that are not fixed by the means over neighbors of the same verdict, repeatedly."""
    width, height = values.shape
    padded = np.pad(verdicts.astype(int), 1, constant_values=-1)
    shifts = [(slice(1 + a, 1 + a + width), slice(1 + b, 1 + b + height)) for a, b in SHIFTS]
    alike = np.stack([padded[shift] == verdicts for shift in shifts])
    for _ in range(rounds if not fixed.all() else 0):
        around = np.stack([np.pad(values, 1)[shift] for shift in shifts])
        values = np.where(fixed, values, (around * alike).sum(0) / alike.sum(0))
    return values


def _best_score(phase_map: PhaseMap) -> float:
    """The score with the lightest shade: the lowest one, limited to 1e-4 to 0.1 of the threshold."""
    good = phase_map.thresholds.good
    scores = [cell.score for cell in phase_map.cells.values() if 0 < cell.score < good]
    return float(np.clip(min(scores, default=good / 10), good * 1e-4, good / 10))


def _shade(cell: Cell, verdict: int, best: float, thresholds: Thresholds) -> float:
    ends = (best, thresholds.good, thresholds.failing, thresholds.failing * 10**DARKEST_DECADES)
    if not np.isfinite(cell.score):
        return 1.0
    low, high = np.log10(ends[verdict]), np.log10(ends[verdict + 1])
    return float(np.clip((np.log10(max(cell.score, ends[0])) - low) / (high - low), 0.0, 1.0))


def _spread(known: np.ndarray, values: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Weighted means of the known values; the nearest ones have most of the weight."""
    if not len(known) or not len(unknown):
        return np.full(len(unknown), 0.5)
    square = ((unknown[:, None, :] - known[None, :, :]) ** 2).sum(-1)
    weights = np.exp(-0.8 * (square / square.min(1, keepdims=True) - 1))
    return (weights * values).sum(1) / weights.sum(1)


def nearest_trained(phase_map: PhaseMap) -> np.ndarray:
    """Indices of the trained cell nearest to each cell, shape (len(x), len(y), 2).

    Cells of the same verdict are preferred. The indices are -1 if no cell was trained.
    """
    shape = phase_map.verdicts.shape
    nearest = np.full((*shape, 2), -1)
    trained = np.array(list(phase_map.cells), dtype=int).reshape(-1, 2)
    if not len(trained):
        return nearest
    for spot in np.ndindex(shape):
        other = phase_map.verdicts[tuple(trained.T)] != phase_map.verdicts[spot]
        square = ((trained - np.array(spot)) ** 2).sum(1) + 1e6 * other
        nearest[spot] = trained[np.argmin(square)]
    return nearest


def untrained(phase_map: PhaseMap) -> bool:
    """Whether some cells are inferred; only then are trained cells marked."""
    return len(phase_map.cells) < phase_map.verdicts.size


def dots(phase_map: PhaseMap) -> np.ndarray:
    """Positions of the trained cells, or of the runs that are on no grid, shape (k, 2)."""
    if phase_map.points:
        places = [(phase_map.x.position(p.x), phase_map.y.position(p.y)) for p in phase_map.points]
        return np.array(places)
    spots = np.array(sorted(phase_map.cells), dtype=int).reshape(-1, 2)
    return np.column_stack([phase_map.x.positions[spots[:, 0]], phase_map.y.positions[spots[:, 1]]])


def line(phase_map: PhaseMap, curve: Curve) -> np.ndarray:
    """A curve in positions, shape (k, 2); NaN if a point has no position."""
    return np.array(
        [
            [place(phase_map.x, float(x)), place(phase_map.y, float(y))]
            for x, y in zip(curve.x, curve.y, strict=True)
        ]
    ).reshape(-1, 2)


def marks_inside(phase_map: PhaseMap) -> list[Mark]:
    """The marks that are on the map."""
    return [
        mark
        for mark in phase_map.marks
        if inside(phase_map.x, mark.x) and inside(phase_map.y, mark.y)
    ]


def point(phase_map: PhaseMap, x: float, y: float) -> tuple[float, float]:
    """The position of a setting."""
    return place(phase_map.x, x), place(phase_map.y, y)


def recommended(phase_map: PhaseMap) -> tuple[float, float, float, float] | None:
    """Position of the recommended cell and of the ends of its window: x, y, low, high."""
    if phase_map.recommendation is None:
        return None
    best = phase_map.recommendation
    low, high = (place(phase_map.y, end) for end in best.window)
    px, py = phase_map.x.positions, phase_map.y.positions
    x = float(np.clip(place(phase_map.x, best.settings[phase_map.x.name]), px[0], px[-1]))
    y = float(np.clip(place(phase_map.y, best.settings[phase_map.y.name]), py[0], py[-1]))
    return x, y, low, high


def undecided(phase_map: PhaseMap) -> np.ndarray:
    """Positions of the cells whose seeds disagree on the verdict, (k, 2)."""
    cells = [
        (phase_map.x.positions[i], phase_map.y.positions[j])
        for (i, j), cell in phase_map.cells.items()
        if not cell.decided
    ]
    return np.array(cells).reshape(-1, 2)


def is_recommended_cell(phase_map: PhaseMap) -> bool:
    """Whether the recommended setting is a cell of the map: its betas and its learning rate."""
    best = phase_map.recommendation
    if best is None:
        return False
    cell = phase_map.cells.get(best.spot)
    return cell is not None and all(
        best.settings.get(name, value) == value for name, value in cell.settings.items()
    )


def on_failing(phase_map: PhaseMap, points: np.ndarray) -> np.ndarray:
    """Whether points (k, 2) are on failing cells, which are dark, so that text on them is light."""
    spots = []
    for side, axis in enumerate((phase_map.x, phase_map.y)):
        index = np.searchsorted(edges(axis)[1:-1], np.nan_to_num(points[:, side]))
        spots.append(np.clip(index, 0, len(axis) - 1))
    return phase_map.verdicts[spots[0], spots[1]] == FAILING


def split(phase_map: PhaseMap, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line as its parts on light cells and on failing cells; NaN elsewhere."""
    dense = _denser(phase_map, points)
    dark = _steady(on_failing(phase_map, dense))[:, None]
    return np.where(dark, np.nan, dense), np.where(dark, dense, np.nan)


def _steady(flags: np.ndarray, width: int = 9) -> np.ndarray:
    """Flags smoothed by a majority vote over neighbors."""
    if len(flags) < width:
        return flags
    padded = np.pad(flags.astype(float), width // 2, mode="edge")
    return np.convolve(padded, np.ones(width), "valid") > width / 2


def _denser(phase_map: PhaseMap, points: np.ndarray, per_cell: int = 10) -> np.ndarray:
    """A line resampled to about `per_cell` points in each cell that it crosses."""
    cell = np.array([np.ptp(edges(axis)) / len(axis) for axis in (phase_map.x, phase_map.y)])
    lengths = np.nan_to_num(np.hypot(*(np.diff(points, axis=0) / cell).T))
    numbers = np.clip(np.ceil(per_cell * lengths), 1, 500).astype(int)
    parts = [
        np.linspace(a, b, n, endpoint=False)
        for a, b, n in zip(points[:-1], points[1:], numbers, strict=True)
    ]
    return np.concatenate([*parts, points[-1:]])


def dash(curve: Curve, index: int) -> int:
    """Index of the dash style of a curve: 0 (solid) for a boundary, 1 to 3 for others."""
    return 0 if "boundary" in curve.label else 1 + index % 3

"""The recommended cell of a map, and the cells that may beat the default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from betaplane.maps.decision import Decision
from betaplane.maps.grid import BETAS, Axis, distance_units, is_beta
from betaplane.maps.phase_map import GOOD, Cell, Recommendation, Spot

# In decades along the axes. A cell this far from any failure is safe; beyond this distance, a lower
# loss counts more.
SAFE_DISTANCE = 1.0
CANDIDATES = 5
CANDIDATE_SPACING = 0.4  # decades between two candidates
NEIGHBORHOOD = 0.35  # decades around a cell over which its score is averaged


def recommend(
    x: Axis, y: Axis, cells: Mapping[Spot, Cell], verdicts: np.ndarray
) -> Recommendation | None:
    """The most robust good cell: farthest from any cell that is not good, up to `SAFE_DISTANCE`;
    then the lowest score.

    Cells beyond the map's edge are unknown. So the edge counts as not good, one cell out, unless no
    value exists beyond it (beta = 0). Cells with beta1 >= sqrt(beta2) are never recommended.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        cells: the trained cells.
        verdicts: (nx, ny), of every cell of the grid.

    Returns:
        The recommendation; None if no trained cell is good.
    """
    good = [spot for spot, cell in cells.items() if cell.verdict == GOOD and is_admissible(cell)]
    if not good:
        return None
    px, py = x.positions, y.positions
    bad = np.argwhere(verdicts != GOOD)
    points = np.stack([px[bad[:, 0]], py[bad[:, 1]]], axis=1)

    def clearance(spot: Spot) -> float:
        here = np.array([px[spot[0]], py[spot[1]]])
        return float(np.sqrt(((points - here) ** 2).sum(axis=1)).min()) if len(points) else math.inf

    def safety(spot: Spot) -> float:
        distance = min(clearance(spot), _edge_distance(x, spot[0]), _edge_distance(y, spot[1]))
        return round(min(distance, SAFE_DISTANCE), 9)

    spot = min(good, key=lambda spot: (-safety(spot), cells[spot].score, spot))
    low, high = good_range(verdicts[spot[0]] == GOOD, spot[1])
    ties = sum(safety(other) == safety(spot) for other in good)
    return Recommendation(
        cells[spot].settings,
        spot,
        clearance(spot),
        (y.values[low], y.values[high]),
        _reason(x, y, safety(spot), ties, low, high),
        notes=edge_notes(x, y, cells[spot].settings),
    )


def with_decision(
    decision: Decision,
    x: Axis,
    y: Axis,
    verdicts: np.ndarray,
    fixed: Mapping[str, float],
) -> Recommendation:
    """The recommendation after other learning rates and the default were compared on fresh seeds.

    Args:
        decision: the comparison.
        x: the horizontal axis.
        y: the vertical axis.
        verdicts: (nx, ny), of every cell of the grid.
        fixed: the hyperparameters that no axis varies.
    """
    settings = {**decision.setting, **{k: v for k, v in fixed.items() if k not in decision.setting}}
    spot = (x.nearest(settings[x.name]), y.nearest(settings[y.name]))
    low, high = good_range(verdicts[spot[0]] == GOOD, spot[1])
    bad = np.argwhere(verdicts != GOOD)
    away = np.hypot(
        x.positions[bad[:, 0]] - x.positions[spot[0]], y.positions[bad[:, 1]] - y.positions[spot[1]]
    )
    notes = decision.notes
    if not decision.keeps_betas:
        notes = (*notes, *edge_notes(x, y, settings))
    return Recommendation(
        settings,
        spot,
        float(away.min()) if len(away) else math.inf,
        (y.values[low], y.values[high]),
        decision_reason(decision),
        decision,
        notes,
    )


def decision_reason(decision: Decision) -> str:
    """Why a decision was made, from the numbers that made it."""
    default, lr = _pair(decision.default), f"lr = {decision.setting['lr']:g}"
    given = f"lr = {decision.default['lr']:g}"
    if not decision.keeps_betas:
        at = f"lr = {decision.best_default['lr']:g}"
        return (
            f"Measurably better than the default {default} at its best learning rate, {at}: "
            f"{decision.gain_at_best_lr}; over the default at {given}: {decision.gain}."
        )
    rest = f"no other setting is measurably better; the best of them: {decision.gain_at_best_lr}."
    if decision.keeps_lr:
        return f"Keep the default {default} and {given}: {rest}"
    return f"Keep the default {default} with {lr}: {decision.gain} than at {given}; {rest}"


def _pair(setting: Mapping[str, float]) -> str:
    values = {name: value for name, value in setting.items() if name != "lr"}
    if tuple(values) == BETAS:
        return f"({values['beta1']:g}, {values['beta2']:g})"
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def candidates(x: Axis, y: Axis, cells: Mapping[Spot, Cell]) -> list[Mapping[str, float]]:
    """The settings of up to `CANDIDATES` good cells with the lowest scores, apart from each other.

    Cells on an edge of the map come last: what lies beyond them is unknown. A cell's score is
    averaged with those around it, since of many noisy scores the lowest is partly luck.
    """
    good = [spot for spot, cell in cells.items() if cell.verdict == GOOD and is_admissible(cell)]
    if not good:
        return []
    places = np.array([(x.positions[i], y.positions[j]) for i, j in cells])
    scores = np.array([min(cell.score, 1.0) for cell in cells.values()])

    def distances(spot: Spot) -> np.ndarray:
        return np.hypot(*(places - (x.positions[spot[0]], y.positions[spot[1]])).T)

    away = {spot: distances(spot) for spot in good}
    smoothed = {spot: float(scores[away[spot] <= NEIGHBORHOOD].mean()) for spot in good}
    index = {spot: k for k, spot in enumerate(cells)}
    chosen: list[Spot] = []
    for spot in sorted(good, key=lambda spot: (is_on_edge(x, y, spot), smoothed[spot])):
        if all(away[spot][index[other]] >= CANDIDATE_SPACING for other in chosen):
            chosen.append(spot)
    return [
        {axis.name: cells[spot].settings[axis.name] for axis in (x, y)}
        for spot in chosen[:CANDIDATES]
    ]


def is_on_edge(x: Axis, y: Axis, spot: Spot) -> bool:
    """Whether a cell has no neighbor on one side; beta = 0 is no edge."""
    return any(
        index == len(axis) - 1 or (index == 0 and not (is_beta(axis.name) and axis.values[0] == 0))
        for axis, index in ((x, spot[0]), (y, spot[1]))
    )


def is_admissible(cell: Cell) -> bool:
    """Whether beta1 < sqrt(beta2) in each parameter group, or the rule has no such pair."""
    groups = {name.rpartition(".")[0] for name in cell.settings}
    return all(_is_admissible_in(group, cell.settings) for group in groups)


def _is_admissible_in(group: str, settings: Mapping[str, float]) -> bool:
    beta1, beta2 = (settings.get(f"{group}.{name}", settings.get(name)) for name in BETAS)
    return beta1 is None or beta2 is None or beta1 == 0 or beta1 < math.sqrt(beta2)


def edge_notes(x: Axis, y: Axis, settings: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for each axis on whose edge, or beyond it, a setting lies, with what to try."""
    notes = []
    for option, axis in (("--x", x), ("--y", y)):
        value = settings[axis.name]
        if value >= axis.values[-1]:
            low, high = min(axis.values[0], value), _beyond(axis, value)
        elif value <= axis.values[0] and value != 0:
            low, high = value / 10, max(axis.values[-1], value)
        else:
            continue
        notes.append(
            f"{axis.name} = {value:g} lies on the edge of the map: the best value may lie beyond "
            f"it. Extend the range: {option} {axis.name}={low:g}:{high:.7g}."
        )
    return tuple(notes)


def _beyond(axis: Axis, value: float) -> float:
    """The end of a range that extends a decade, or the length of a linear axis, beyond a value."""
    if is_beta(axis.name):
        return 1 - (1 - value) / 10
    return 10 * value if axis.scale == "log" else 2 * value - axis.values[0]


def _edge_distance(axis: Axis, index: int) -> float:
    """Distance to the nearest value beyond the axis, which was not examined, in decades."""
    positions = axis.positions
    spacing = float(np.diff(positions).mean())
    above = positions[-1] - positions[index] + spacing
    if is_beta(axis.name) and axis.values[0] == 0:
        return float(above)
    return float(min(above, positions[index] - positions[0] + spacing))


def good_range(good: Sequence[bool] | np.ndarray, index: int) -> tuple[int, int]:
    """The first and last index of the contiguous good cells around an index.

    Example:
        >>> good_range([True, False, True, True, True], 3)
        (2, 4)
    """
    low = high = index
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return low, high


def _reason(x: Axis, y: Axis, safety: float, ties: int, low: int, high: int) -> str:
    """What the criterion compared: the distance, and the loss of cells that tie."""
    first = "the map's lower edge" if low == 0 else f"{y.name} = {y.values[low]:.6g}"
    at_upper_edge = high == len(y) - 1
    last = "the map's upper edge" if at_upper_edge else f"{y.name} = {y.values[high]:.6g}"
    unit, units = distance_units(x, y)
    if safety >= SAFE_DISTANCE:
        head = (
            f"It has the lowest loss of {ties} good cells that are at least {SAFE_DISTANCE:g} "
            f"{unit} from every cell that is not good and from the edges of the map"
            if ties > 1
            else f"It is the only good cell at least {SAFE_DISTANCE:g} {unit} from every cell "
            "that is not good and from the edges of the map"
        )
    else:
        head = (
            f"No good cell is farther from the cells that are not good and from the edges of the "
            f"map: {safety:.2f} {units}"
        )
    return f"{head}; at this setting training is good from {first} to {last}."

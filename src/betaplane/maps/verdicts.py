"""Verdicts from losses, and marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from betaplane.maps.decision import half_width
from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import (
    DEGRADED,
    FAILING,
    GOOD,
    Cell,
    Mark,
    Thresholds,
)
from betaplane.maps.sampling.wilson import wilson

FLOAT32 = np.finfo(np.float32)  # curves are stored in it


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


def median_of_finite(losses: Iterable[float]) -> float:
    """The median of the finite losses, nan if there are none: a run may fail before its first."""
    return float(np.median([loss for loss in losses if math.isfinite(loss)] or [math.nan]))


def log_score(final: float, initial: float, best: float, lowest: float) -> float:
    """1 - log((initial - best) / (final - best)) / log((initial - best) / (lowest - best)): 0 for the
    run that gained most decades, 1 for none, inf for divergence.

    It compares rates where the loss approaches the best one geometrically. Differences that float32
    cannot represent count as the smallest that it can.

    Args:
        final: loss after training; inf or nan if the run diverged.
        initial: loss before training.
        best: the lowest possible loss.
        lowest: the lowest loss that a run reached.

    Example:
        >>> [round(log_score(10.0**-k, initial=1.0, best=0.0, lowest=1e-20), 2) for k in (0, 5, 20)]
        [1.0, 0.75, 0.0]
    """
    if not math.isfinite(final):
        return math.inf
    smallest = max(float(FLOAT32.tiny), float(FLOAT32.eps) * abs(best))
    gap, first, last = (max(loss - best, smallest) for loss in (final, initial, lowest))
    decades = math.log(first / last)
    if decades <= 0:
        return 0.0 if gap <= first else math.inf
    return math.log(gap / last) / decades


def verdict(score: float, thresholds: Thresholds) -> int:
    """GOOD below thresholds.good, FAILING above thresholds.failing, else DEGRADED."""
    if score < thresholds.good:
        return GOOD
    return FAILING if not score <= thresholds.failing else DEGRADED


def judge(
    settings: Mapping[str, Any],
    finals: Sequence[float],
    curves: Sequence[np.ndarray],
    scores: Sequence[float],
    thresholds: Thresholds,
    held_out: Sequence[np.ndarray | None] = (),
) -> Cell:
    """The cell that these runs, one per seed, amount to.

    Args:
        settings: the cell's hyperparameters.
        finals: final loss of each seed.
        curves: loss curve of each seed, (points,).
        scores: score of each seed, see `score`.
        thresholds: scores at which the verdict changes.
        held_out: held-out curve of each seed, if they are measured.
    """
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
        held_out=held_out[scores.index(middle)] if held_out else None,
        decided=is_decided(scores, thresholds),
    )


def is_decided(scores: Sequence[float], thresholds: Thresholds) -> bool:
    """Whether the seeds agree on the verdict, or the interval of their mean contains no threshold.

    Example:
        >>> is_decided([0.01, 0.02], Thresholds()), is_decided([0.04, 0.06], Thresholds())
        (True, False)
    """
    if len({verdict(s, thresholds) for s in scores}) == 1:
        return True
    capped = np.minimum(scores, 1.0)  # as useless as no training
    middle, half = float(np.mean(capped)), half_width(capped)
    return not any(abs(middle - limit) <= half for limit in (thresholds.good, thresholds.failing))


def _upper_median(scores: Sequence[float]) -> float:
    """The median; of an even number, the upper of the middle two.

    So one divergence out of two runs is not hidden.
    """
    return sorted(scores)[len(scores) // 2]


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
    here = x.position(values[0]), y.position(values[1])
    px, py = x.positions, y.positions
    distances = np.hypot(px[:, None] - here[0], py[None, :] - here[1])
    i, j = np.unravel_index(int(np.argmin(distances)), distances.shape)
    margin = max(float(np.diff(px).max()), float(np.diff(py).max()))
    if not all(p[0] - margin <= at <= p[-1] + margin for p, at in zip((px, py), here, strict=True)):
        return Mark(label, *values, None, math.inf)
    others = distances[verdicts != verdicts[i, j]]
    distance = float(others.min()) if len(others) else math.inf
    return Mark(label, *values, int(verdicts[i, j]), distance)

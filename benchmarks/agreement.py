"""Agreement of predicted verdicts with those of a trained dense map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from betaplane.maps.phase_map import FAILING, GOOD, PhaseMap
from betaplane.maps.verdicts import verdict


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted with trained verdicts over the cells of a map; nan if all cells have
    one verdict.

    "per beta1": each trained cell is scored against the best cell with the same beta1.
    """

    good: float  # balanced accuracy of good against the other verdicts
    good_per_beta1: float  # the same, per beta1
    failing: float  # balanced accuracy of failing against the other verdicts
    failing_above_zero: float  # the same without the cells at beta2 = 0, most of which fail
    # median distance of the boundaries of good, in decades of 1 - beta2; per beta1
    good_distance: float
    failing_distance: float  # the same for the boundaries of failing


def agreement(verdicts: np.ndarray, trained: PhaseMap) -> Agreement:
    y, per_beta1 = trained.y.positions, verdicts_per_beta1(trained)
    good, failing = verdicts == GOOD, verdicts == FAILING
    above = np.array(trained.y.values) > 0
    return Agreement(
        balanced_accuracy(good, trained.verdicts == GOOD),
        balanced_accuracy(good, per_beta1 == GOOD),
        balanced_accuracy(failing, trained.verdicts == FAILING),
        balanced_accuracy(failing[:, above], trained.verdicts[:, above] == FAILING),
        boundary_distance(good, per_beta1 == GOOD, y),
        boundary_distance(~failing, trained.verdicts != FAILING, y),
    )


def verdicts_per_beta1(trained: PhaseMap) -> np.ndarray:
    """Verdicts of a dense map's cells, each scored against the best cell with the same beta1."""
    nx, ny = len(trained.x), len(trained.y)
    scores = np.array([[trained.cells[i, j].score for j in range(ny)] for i in range(nx)])
    best = scores.min(axis=1, keepdims=True)
    relative = (scores - best) / (1 - best)
    judge = np.vectorize(lambda score: verdict(score, trained.thresholds), otypes=[np.int8])
    return judge(relative)


def boundary_distance(ours: np.ndarray, trained: np.ndarray, y: np.ndarray) -> float:
    """The median over beta1 of the distance of two boundaries, for columns that have both."""
    pairs = [(boundary(a, y), boundary(b, y)) for a, b in zip(ours, trained, strict=True)]
    distances = [abs(a - b) for a, b in pairs if math.isfinite(a + b)]
    return float(np.median(distances)) if distances else math.nan


def balanced_accuracy(ours: np.ndarray, trained: np.ndarray) -> float:
    """The mean of the true positive and the true negative rate; nan if all cells are equal."""
    if trained.all() or not trained.any():
        return math.nan
    return float((ours[trained].mean() + (~ours[~trained]).mean()) / 2)


def boundary(fine: np.ndarray, y: np.ndarray) -> float:
    """The position above which all cells of a column are fine; nan if all are, or the top one is
    not.
    """
    if fine.all() or not fine[-1]:
        return math.nan
    below = int(np.flatnonzero(~fine)[-1])
    return float((y[below] + y[below + 1]) / 2)


def best_constants(trained: PhaseMap) -> tuple[float, float]:
    """Balanced accuracy of failing, on all cells and without beta2 = 0, if all cells below one beta2
    fail. Both are of the best such beta2 of this map, chosen after training: no rule of this form
    does better.
    """
    beta2 = np.array(trained.y.values)
    shape = trained.verdicts.shape
    rules = [np.broadcast_to(np.where(beta2 < c, FAILING, GOOD), shape) for c in beta2]
    found = [agreement(rule, trained) for rule in rules]
    return max(a.failing for a in found), max(a.failing_above_zero for a in found)


def rule_verdicts(trained: PhaseMap) -> np.ndarray:
    """The prediction of the rule beta1 < sqrt(beta2): good if it holds, else failing."""
    beta1, beta2 = (np.array(axis.values) for axis in (trained.x, trained.y))
    return np.where(beta1[:, None] <= np.sqrt(beta2), GOOD, FAILING)

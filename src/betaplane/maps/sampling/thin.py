"""Merge neighboring trained points, so that a classifier is fitted to a bounded number of them."""

from __future__ import annotations

import numpy as np

MAX_BLOCK_SIDE = 8  # points; blocks of agreeing points are merged up to this size, then any

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # points (n, 2), fails (n,), trials (n,)


def thinned(points: np.ndarray, fails: np.ndarray, trials: np.ndarray, limit: int) -> Points:
    """At most `limit` points: blocks of neighbors become one point, first those whose runs all
    ended the same way.

    Args:
        points: (n, 2), trained points.
        fails: (n,), failed runs at each.
        trials: (n,), runs at each.
        limit: the largest number of points to return.
    """
    side = 2
    agreeing_only = True
    corner, extent = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-300)
    per_side = np.ceil(np.sqrt(len(points)))
    while len(points) > limit:
        block = np.minimum((points - corner) / extent * per_side // side, per_side // side)
        label = np.unique(block, axis=0, return_inverse=True)[1].ravel()
        if agreeing_only:
            label = np.where(_agree(label, fails, trials), label, -1)
        points, fails, trials = _merged(points, fails, trials, label)
        if agreeing_only and side >= MAX_BLOCK_SIDE:
            side, agreeing_only = 2, False
        else:
            side *= 2
    return points, fails, trials


def _agree(label: np.ndarray, fails: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Whether all runs of each point's block failed, or none did; bool, (n,)."""
    failed, tried = np.bincount(label, fails), np.bincount(label, trials)
    return ((failed == 0) | (failed == tried))[label]


def _merged(points: np.ndarray, fails: np.ndarray, trials: np.ndarray, label: np.ndarray) -> Points:
    """Points with one label >= 0 become one at their weighted mean; those with -1 stay."""
    label = np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)
    _, label = np.unique(label, return_inverse=True)
    tried = np.bincount(label, trials)
    means = [np.bincount(label, trials * points[:, axis]) / tried for axis in (0, 1)]
    return np.stack(means, axis=1), np.bincount(label, fails), tried

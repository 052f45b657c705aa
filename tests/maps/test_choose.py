"""The chooser against grids whose verdicts are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from betaplane.maps.choose import Refine, fill, verdict
from betaplane.maps.phase_map import FAILING, GOOD


def train(chooser, label):
    """Ask and tell until the chooser is done; `label(spot, seed)` is the verdict of one training."""
    told = {}
    while batch := chooser.ask():
        for spot, seeds in batch:
            told[spot] = [label(spot, seed) for seed in range(seeds)]
        chooser.tell(told)
    return told


def counterexample(nx, ny, n=20, a=1.0):
    """Where Adam diverges on the cyclic counterexample: the sign of its stationary drift (Zhang et al. 2022)."""
    beta1 = (1 - 10 ** -np.linspace(0, 2, nx))[:, None, None]
    beta2 = (1 - 10 ** -np.linspace(0, 4, ny))[None, :, None]
    j, big = np.arange(n), 1 + (n - 1) * a
    m = -a + (1 - beta1) * beta1**j * (big + a) / (1 - beta1**n)
    v = a**2 + (1 - beta2) * beta2**j * (big**2 - a**2) / (1 - beta2**n)
    return np.where((m / np.sqrt(v)).sum(axis=2) < 0, FAILING, GOOD).astype(np.int8)


@pytest.mark.parametrize(("shape", "share"), [((64, 64), 0.35), ((128, 128), 0.2), ((24, 24), 0.6), ((30, 7), 1.0)])
def test_the_counterexample_is_judged_right_from_a_part_of_its_cells(shape, share):
    truth = counterexample(*shape)
    told = train(Refine(shape, seeds=1, boundary_seeds=1), lambda spot, _: int(truth[spot]))
    judged = fill(shape, {spot: verdict(votes) for spot, votes in told.items()})
    assert len(told) <= share * truth.size
    assert (judged != truth).mean() <= 0.005
    assert judged.dtype == np.int8

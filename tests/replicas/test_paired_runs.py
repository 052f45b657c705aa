"""Independent runs that are paired share initialization and minibatch order by their seed."""

import numpy as np
import pytest

from betaplane.problems import digits
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.rules import Adam


def test_paired_runs_are_those_of_their_own_seed():
    problem = digits(hidden=4, steps=10)
    runs = [Run(Adam(beta2=beta2), 0.01, 32, seed) for beta2 in (0.9, 0.99) for seed in (3, 4)]
    paired = train_stacked(problem, runs, Options(independent="paired", points=5))
    for run, outcome in zip(runs, paired, strict=True):
        alone = train_plain(problem, run, Options(points=5))
        assert outcome.initial == pytest.approx(alone.initial, rel=1e-5)
        np.testing.assert_allclose(outcome.curve, alone.curve, rtol=1e-5)


def test_runs_that_are_not_paired_differ_by_their_settings():
    problem = digits(hidden=4, steps=10)
    runs = [Run(Adam(beta2=beta2), 0.01, 32, 3) for beta2 in (0.9, 0.99)]
    first, second = train_stacked(problem, runs, Options(independent=True, points=5))
    assert first.initial != second.initial

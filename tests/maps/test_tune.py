"""The recipe: past the threshold on problems where it is known, in few trainings, and again from
the store.
"""

from __future__ import annotations

import math

import pytest

import betaplane
from betaplane.errors import BadInput
from betaplane.maps import tune
from betaplane.problems import Trainer, counterexample


def bowl(beta1: float, beta2: float):
    """A trainer whose loss is a parabola in log horizons around a best setting, and diverges below
    a threshold.
    """
    seen = []

    def train(settings, seed):
        b1, b2 = settings["beta1"], settings["beta2"]
        seen.append((b1, b2, seed))
        if b2 < 0.93:
            return [1.0, math.nan]
        away = math.log10((1 - b1) / (1 - beta1)) ** 2 + math.log10((1 - b2) / (1 - beta2)) ** 2
        return [1.0, min(0.1 * away, 1.0)]

    return Trainer("bowl", train, defaults={"lr": 1e-3}), seen


BEST = [(0.9, 0.975), (0.95, 0.99375), (0.8, 0.9984375), (0.0, 0.9875), (0.975, 0.999609375)]


@pytest.mark.parametrize(("beta1", "beta2"), BEST)
def test_it_ends_at_the_best_setting(beta1, beta2):
    trainer, seen = bowl(beta1, beta2)
    found = tune(trainer, seeds=1, workers=0)
    assert (found.beta1, found.beta2) == pytest.approx((beta1, beta2))
    assert found.trainings == len(seen) == len(set(seen)) < 0.03 * found.grid
    assert found.loss == min(trial.loss for trial in found.trials)
    assert all(trial.beta1 < math.sqrt(trial.beta2) for trial in found.trials)


def test_the_threshold_is_reported():
    found = tune(bowl(0.9, 0.99)[0], seeds=1, workers=0)
    low, high = found.threshold
    assert low < 0.93 < high
    assert found.reason.startswith("beta2 passed its threshold between 0.9 and 0.95; ")


@pytest.mark.slow
def test_the_counterexample():
    problem = counterexample(n=10)
    found = tune(problem, steps=1000, seeds=1, workers=0)
    edge = problem.boundary(found.beta1)
    assert math.isnan(edge) or found.beta2 > edge
    assert (found.loss - problem.best) / (found.initial - problem.best) < 0.02
    assert found.trainings < 0.05 * found.grid


def test_the_same_call_resumes_from_the_store(tmp_path):
    trainer, seen = bowl(0.9, 0.99)
    first = tune(trainer, seeds=2, workers=0, store=tmp_path / "tune.sqlite")
    trained = len(seen)
    assert tune(trainer, seeds=2, workers=0, store=tmp_path / "tune.sqlite") == first
    assert len(seen) == trained == first.trainings


def test_a_map_takes_what_tuning_trained(tmp_path):
    found = tune(bowl(0.9, 0.99)[0], seeds=1, workers=0, store=tmp_path / "tune.sqlite")
    window = betaplane.advise(1, map=tmp_path / "tune.sqlite")["beta2"]
    assert window.low <= found.beta2 <= window.high


@pytest.mark.slow
def test_the_digits():
    """Within 2% of the loss's range of the best of a dense map of 12 x 12, with 15% of its
    trainings.
    """
    from betaplane.maps import map_phases

    dense = map_phases("digits", points=12, seeds=2, boundary_seeds=2, dense=True)
    found = tune("digits", seeds=2)
    assert (found.loss - dense.best) / (dense.initial - dense.best) < 0.02
    assert found.trainings <= 0.15 * dense.trainings


@pytest.mark.parametrize("steps", [1, 5, 19])
def test_a_run_shorter_than_the_next_horizon(steps):
    """No beta2 above 0.9 is tried; smaller ones and other beta1 are."""
    found = tune(counterexample(n=5), steps=steps, seeds=1, workers=0)
    assert max(trial.beta2 for trial in found.trials) == 0.9
    assert len(found.trials) > 1


def test_every_setting_diverges():
    with pytest.raises(
        BadInput, match=r"Every setting diverged: got \d+; expected a learning rate"
    ):
        tune(Trainer("lost", lambda settings, seed: [1.0, math.inf]), seeds=1, workers=0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seeds": 0}, "seeds is out of range: got 0; expected [1, 1000]"),
        ({"lr": -1.0}, "lr is out of range: got -1.0"),
        ({"rule": betaplane.rules.SGD()}, "SGD has no beta1 to put on an axis"),
        ({"watch": "bar"}, "watch is not callable: got 'bar'; expected a function (tune"),
        ({"workers": -1}, "workers is out of range: got -1"),
    ],
)
def test_bad_input(how, message):
    with pytest.raises(BadInput) as error:
        tune(counterexample(n=5), **{"workers": 0, **how})
    assert message in str(error.value)

"""The search over lr and betas: it finds known optima, and keeps the default where nothing is
likely to be better.
"""

from __future__ import annotations

import math
from itertools import product, starmap

import numpy as np
import pytest

import betaplane
from betaplane.errors import BadInput
from betaplane.maps import tune
from betaplane.maps.decision import gain
from betaplane.maps.tune_model import (
    AMPLITUDES,
    LENGTHS,
    NOISES,
    PENALTY,
    STRETCHES,
    Model,
    fitted,
)
from betaplane.maps.tune_search import FIRST_FRESH_SEED, Lattice
from betaplane.problems import Trainer, counterexample


def bowl(lr=1e-3, beta1=0.9, beta2=0.999, noise=0.0, diverges=lambda settings: False):
    """A trainer whose loss is a parabola in decades of lr and of horizons, with a best setting."""
    seen = []

    def train(settings, seed):
        seen.append((settings["lr"], settings["beta1"], settings["beta2"], seed))
        if diverges(settings):
            return [1.0, math.nan]
        away = math.log10(settings["lr"] / lr) ** 2
        away += math.log10((1 - settings["beta1"]) / (1 - beta1)) ** 2
        away += math.log10((1 - settings["beta2"]) / (1 - beta2)) ** 2
        shift = noise * np.random.default_rng(abs(hash(seen[-1]))).standard_normal()
        return [1.0, min(0.02 * math.exp(2 * away + shift), 1.0)]

    return Trainer("bowl", train, defaults={"lr": 1e-3}), seen


BEST = [
    (1e-2, 0.9, 0.95, "change lr and betas"),
    (1e-4, 0.5, 0.99, "change lr and betas"),
    (1e-3, 0.98, 0.999, "change betas"),
    (1e-2, 0.9, 0.999, "change lr"),
    (1e-3, 0.9, 0.999, "keep the default"),
]


@pytest.mark.parametrize(("lr", "beta1", "beta2", "answer"), BEST)
def test_the_best_setting_is_found(lr, beta1, beta2, answer):
    trainer, seen = bowl(lr, beta1, beta2)
    found = tune(trainer, workers=0)
    assert found.answer == answer
    assert found.lr == pytest.approx(lr, rel=0.35)
    assert found.loss < 0.02 * 1.15
    assert found.trainings == len(seen) == len(set(seen)) <= 48
    assert all(trial.beta1 < math.sqrt(trial.beta2) for trial in found.trials)


def test_the_learning_rate_stays_if_it_is_fixed():
    found = tune(bowl(1e-2, 0.8, 0.99)[0], workers=0, search_lr=False)
    assert {trial.lr for trial in found.trials} == {1e-3}
    assert (found.answer, found.beta1, found.beta2) == ("change betas", 0.8, 0.99)


def noisy_trainer(scatter: float) -> Trainer:
    """Losses that depend on the setting and the seed by chance only."""

    def train(settings, seed):
        words = [*np.array([settings["lr"], settings["beta1"], settings["beta2"]]).view(np.uint64)]
        draw = np.random.default_rng([int(word) for word in words] + [seed]).standard_normal()
        return [1.0, 0.5 * math.exp(scatter * draw)]

    return Trainer("noise", train, defaults={"lr": 1e-3})


def test_the_default_stays_if_everything_is_a_little_noise():
    found = tune(noisy_trainer(0.01), workers=0, max_runs=30)
    assert found.answer == "keep the default"
    assert found.reason.startswith("no setting is likely to be better than the default.")


def test_no_gain_is_certain_if_everything_is_noise():
    found = tune(noisy_trainer(0.1), workers=0, seeds=8, max_runs=60)
    assert not found.gain.is_measurable
    assert found.answer == "keep the default" or "likely to be better, not certain" in found.reason


def test_a_learning_rate_at_which_the_default_diverges_is_left():
    trainer, _ = bowl(1e-4, diverges=lambda settings: settings["lr"] > 2e-4)
    found = tune(trainer, workers=0)
    assert (found.keeps_lr, found.keeps_betas) == (False, True)
    assert found.lr < 2e-4
    assert found.trials[0].loss == math.inf
    assert found.to_dict()["trials"][0]["finals"][0] is None


def test_negative_losses_are_compared_by_their_decrease():
    positive, _ = bowl(1e-2, 0.9, 0.99)

    def train(settings, seed):
        return [loss - 5 for loss in positive.train(settings, seed)]

    found = tune(Trainer("negative", train, defaults={"lr": 1e-3}), workers=0)
    assert not found.gain.of_loss
    assert found.gain.low > 0
    assert found.lr == pytest.approx(1e-2, rel=1)


def test_an_end_of_the_learning_rates_is_reported():
    def train(settings, seed):  # the larger lr, the better
        return [1.0, 0.5 / (9 + math.log10(settings["lr"]))]

    found = tune(Trainer("slope", train, defaults={"lr": 1e-3}), workers=0)
    assert "lr" in found.ends
    assert f"repeat with lr={found.lr:g} to try further" in found.reason


def test_the_stated_gain_is_that_of_the_fresh_seeds():
    found = tune(bowl(1e-2, noise=0.05)[0], workers=0, seeds=5)
    by_setting = {(t.lr, t.beta1, t.beta2): np.array(t.finals[-5:]) for t in found.trials}
    chosen = by_setting[found.lr, found.beta1, found.beta2]
    default = by_setting[tuple(found.default.values())]
    assert found.gain == gain(chosen, default, np.ones(5))
    assert found.loss == sorted(chosen)[2]


def test_fresh_seeds_are_not_those_of_the_search():
    trainer, seen = bowl(1e-2)
    found = tune(trainer, workers=0, seeds=3)
    fresh = {(lr, b1, b2) for lr, b1, b2, seed in seen if seed >= FIRST_FRESH_SEED}
    assert (found.lr, found.beta1, found.beta2) in fresh
    assert len(fresh) <= 3
    assert {seed for *_, seed in seen} == {0, 1000, 1001, 1002}


@pytest.mark.slow
def test_the_counterexample_does_not_diverge():
    problem = counterexample(n=10)
    found = tune(problem, steps=300, workers=0)
    assert found.loss <= found.initial
    assert found.beta1 < math.sqrt(found.beta2)


def test_the_same_call_resumes_from_the_store(tmp_path):
    trainer, seen = bowl(1e-2, 0.9, 0.99)
    first = tune(trainer, workers=0, store=tmp_path / "tune.sqlite")
    trained = len(seen)
    assert tune(trainer, workers=0, store=tmp_path / "tune.sqlite") == first
    assert len(seen) == trained == first.trainings


def test_a_map_takes_what_tuning_trained(tmp_path):
    tune(bowl(1e-3, 0.9, 0.99)[0], workers=0, search_lr=False, store=tmp_path / "tune.sqlite")
    window = betaplane.advise(1, map=tmp_path / "tune.sqlite")["beta2"]
    assert window.low <= 0.99 <= window.high


def test_lattice_holds_the_default_and_no_beta1_above_the_root_of_beta2():
    lattice = Lattice.around(0.003, (0.85, 0.997), 10)
    assert lattice.at(lattice.default(lattice.start)) == {
        "lr": 0.003,
        "beta1": 0.85,
        "beta2": 0.997,
    }
    assert all(s["beta1"] < math.sqrt(s["beta2"]) for s in map(lattice.at, lattice.cells()))
    assert lattice.ends((0, 0, 0)) == ["lr", "beta2"]


def test_the_model_interpolates_and_is_uncertain_far_away():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (30, 3))
    heights = np.square(points).sum(1)
    model = fitted(points, heights)
    mean, deviation = model.posterior(points)
    np.testing.assert_allclose(mean, heights, atol=0.05)
    assert model.posterior(np.full((1, 3), 9.0))[1] > 5 * deviation.max()


def test_posterior_agrees_with_the_conditional_gaussian():
    """Against the textbook formula, with a mean of very large variance."""
    rng = np.random.default_rng(1)
    points, where = rng.uniform(-1, 1, (7, 3)), rng.uniform(-1, 1, (4, 3))
    heights = rng.standard_normal(7)
    model = Model(points, heights, amplitude=0.7, noise=0.1, lengths=(0.5, 1, 2))
    inverse = np.linalg.inv(model._kernel(points, points) + 0.01 * np.eye(7) + 1e5)
    across = model._kernel(where, points) + 1e5
    mean, deviation = model.posterior(where)
    np.testing.assert_allclose(mean, across @ inverse @ heights, rtol=1e-4)
    variance = 0.49 + 1e5 - np.einsum("ij,jk,ik->i", across, inverse, across)
    np.testing.assert_allclose(deviation**2, variance, rtol=1e-2)


def test_the_fitted_model_has_the_largest_likelihood():
    """Against the textbook formula with an explicit inverse and determinant."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (9, 3))
    heights = np.sin(2 * points[:, 0]) + 0.1 * rng.standard_normal(9)

    def likelihood(amplitude, noise, lengths):  # of the differences from the last height
        covariance = Model(points, heights, amplitude, noise, lengths)._kernel(points, points)
        covariance += noise**2 * np.eye(9)
        apart = np.eye(8, 9) - np.eye(9)[8]
        covariance, differences = apart @ covariance @ apart.T, apart @ heights
        quadratic = differences @ np.linalg.inv(covariance) @ differences
        return -0.5 * (quadratic + np.linalg.slogdet(covariance)[1])

    def penalized(amplitude, noise, k, stretch):
        lengths = tuple(stretch * length for length in LENGTHS[k])
        return likelihood(amplitude, noise, lengths) - PENALTY * k, amplitude, noise, lengths

    _, *best = max(starmap(penalized, product(AMPLITUDES, NOISES, range(3), STRETCHES)))
    model = fitted(points, heights)
    assert [model.amplitude, model.noise, model.lengths] == best


def test_every_setting_diverges():
    with pytest.raises(
        BadInput, match=r"Every setting diverged: got \d+; expected a learning rate"
    ):
        tune(Trainer("lost", lambda settings, seed: [1.0, math.inf]), workers=0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seeds": 0}, "seeds is out of range: got 0; expected [1, 1000]"),
        ({"seeds": 1}, "seeds is out of range: got 1; expected [2, 1000]: one seed gives"),
        ({"max_runs": 15}, "max_runs is too small: got 15; expected [16, inf) with 4 fresh seeds"),
        ({"max_runs": "9"}, "max_runs is not a whole number: got '9'"),
        ({"max_runs": True}, "max_runs is not a whole number: got True"),
        ({"max_rums": 48}, "Unknown argument 'max_rums'. Did you mean 'max_runs'?"),
        ({"search_lr": "no"}, "search_lr is of the wrong type: got 'no'"),
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

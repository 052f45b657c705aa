"""Optuna's trials in log horizons: inside beta1 < sqrt(beta2), all of the range, with Optuna's own
samplers.
"""

from __future__ import annotations

import math

import optuna
import pytest

import betaplane
from betaplane.errors import BadInput

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize(
    "sampler", [optuna.samplers.TPESampler(seed=0), optuna.samplers.RandomSampler(seed=0)]
)
def test_every_trial_is_inside_and_the_study_goes_where_the_loss_is_low(sampler):
    seen = []

    def loss(trial: optuna.Trial) -> float:
        beta1, beta2 = betaplane.optuna_betas(trial)
        seen.append((beta1, beta2))
        return (math.log10(1 - beta1) + 1) ** 2 + (math.log10(1 - beta2) + 2.5) ** 2

    study = optuna.create_study(sampler=sampler)
    study.optimize(loss, n_trials=60)
    assert all(0 <= beta1 < math.sqrt(beta2) for beta1, beta2 in seen)
    assert study.best_value < 0.1
    assert set(study.best_params) == {"horizon2", "share1"}
    assert min(beta2 for _, beta2 in seen) < 0.92
    assert max(beta2 for _, beta2 in seen) > 0.9997


def test_horizons_are_uniform_on_a_log_scale():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = [betaplane.optuna_betas(study.ask(), beta2=(0.9, 0.999)) for _ in range(400)]
    below = sum(beta2 < 0.99 for _, beta2 in drawn)
    assert abs(below / 400 - 0.5) < 0.08


def test_two_pairs_in_one_trial():
    trial = optuna.create_study().ask()
    betaplane.optuna_betas(trial, prefix="a_")
    betaplane.optuna_betas(trial, prefix="b_")
    assert set(trial.params) == {"a_horizon2", "a_share1", "b_horizon2", "b_share1"}


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            {"beta1": (0.9, 0.5)},
            "Invalid range of beta1: got (0.9, 0.5); expected low < high, both in [0, 1)",
        ),
        ({"beta2": (0.9, 1.0)}, "Invalid range of beta2: got (0.9, 1.0)"),
        ({"beta2": (math.nan, 0.9)}, "Invalid range of beta2"),
        (
            {"beta1": (0.8, 0.9), "beta2": (0.5, 0.9)},
            "The smallest beta1 is not below the square root",
        ),
    ],
)
def test_bad_input(ranges, message):
    with pytest.raises(BadInput) as error:
        betaplane.optuna_betas(optuna.create_study().ask(), **ranges)
    assert message in str(error.value)

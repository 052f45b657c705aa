"""Comparisons over paired seeds, and the search over learning rates, on losses known on paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from betaplane.maps import map_phases
from betaplane.maps.decision import (
    Gain,
    better_than_default,
    gain,
    half_width,
    heights,
    is_positive,
    largest_likely,
)
from betaplane.maps.lr_search import FACTOR, FRESH_SEEDS, MOST_FACTORS, LearningRateSearch
from betaplane.maps.trials import Trials
from betaplane.problems import Trainer

INITIAL = np.full(4, 8.0)
DEFAULT = {"beta1": 0.9, "beta2": 0.999}


def test_gain_is_the_geometric_mean_of_the_ratios():
    """Ratios 1/2 and 1/8: logarithms average to 1/4."""
    found = gain(np.array([1.0, 0.5]), np.array([2.0, 4.0]), INITIAL[:2])
    assert found.of_loss
    assert found.middle == pytest.approx(0.75)
    assert found.low < 0 < found.middle < found.high < 1
    assert not found.is_measurable


def test_interval_is_students_t():
    """Differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(2) = 4.303."""
    assert half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / math.sqrt(3))
    assert half_width(np.array([1.0])) == math.inf
    assert half_width(np.array([2.0, 2.0])) == 0.0


@pytest.mark.parametrize("finals", [[math.inf], [math.nan], [9.0]])
def test_a_useless_run_counts_as_its_initial_loss(finals):
    losses = np.array([*finals, 1.0, 1.0, 1.0])
    assert heights(losses, INITIAL, False).tolist() == [8.0, 1.0, 1.0, 1.0]


def test_losses_below_zero_are_compared_by_the_decrease():
    """The other falls from 8 to -2, by 10; the setting ends 1 lower: a tenth."""
    finals, other = np.full(4, -3.0), np.full(4, -2.0)
    assert not is_positive(np.stack([finals, other]), INITIAL)
    found = gain(finals, other, INITIAL)
    assert (found.middle, found.low, found.of_loss) == (
        pytest.approx(0.1),
        pytest.approx(0.1),
        False,
    )
    assert str(found).startswith("10% of the decrease of the loss lower")


def test_what_is_worse_is_not_measurably_better():
    found = gain(np.full(4, 2.0), np.full(4, 1.0), INITIAL)
    assert found.middle == pytest.approx(-1.0)
    assert not found.is_measurable
    assert "higher" in str(found)


def test_a_gain_of_half_a_percent_is_not_worth_a_change():
    assert not gain(np.full(4, 0.995), np.full(4, 1.0), INITIAL).is_measurable
    assert gain(np.full(4, 0.98), np.full(4, 1.0), INITIAL).is_measurable


def test_seeds_that_would_decide_follow_from_the_spread():
    """Mean 1, standard deviation 2: (2 * 2 / 1)^2 = 16 seeds."""
    shift = np.array([-1.0, 1.0, -1.0, 1.0]) * math.sqrt(3)  # sample standard deviation 2
    finals = np.exp(-(1 + shift))
    found = gain(finals, np.ones(4), np.full(4, 100.0))
    assert found.deciding_seeds == 16
    assert found.could_be_decided_by(12)
    assert not found.could_be_decided_by(11)
    assert gain(np.ones(4), np.ones(4), INITIAL).deciding_seeds == math.inf


class PaperTrials(Trials):
    """Trials whose losses are a formula: 0.1 + 0.2 |log3(lr / best)| at the default betas."""

    def __init__(self, best_lr: float, others: Mapping[float, float] | None = None) -> None:
        self.best_lr, self.others, self.asked = best_lr, others or {}, []

    def finals(self, settings: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> np.ndarray:
        self.asked += settings
        return np.array([[self.loss(s, seed) for seed in seeds] for s in settings])

    def loss(self, setting: Mapping[str, float], seed: int) -> float:
        away = abs(math.log(setting["lr"] / self.best_lr) / math.log(FACTOR))
        factor = self.others.get(setting["beta2"], 1.0)
        return factor * (0.1 + 0.2 * away) * (1 + 0.01 * (seed % 3))

    def initials(self, seeds: Sequence[int]) -> np.ndarray:
        return np.full(len(seeds), 2.0)

    def curve(self, setting: Mapping[str, float], seed: int) -> np.ndarray:
        return np.r_[2.0, np.full(99, 0.1)]


def decided(best_lr: float, others: Mapping[float, float] | None = None):
    trials = PaperTrials(best_lr, others)
    candidates = [{"beta1": 0.9, "beta2": beta2} for beta2 in trials.others]
    return LearningRateSearch(trials, DEFAULT, 0.01).run(candidates)


def test_the_default_stays_where_it_is_best():
    found = decided(0.01)
    assert found.keeps_lr
    assert found.keeps_betas
    assert found.gain.middle == 0


@pytest.mark.parametrize("steps", [-3, -1, 1, 2, 4])
def test_the_learning_rate_is_found_beyond_the_first_three(steps):
    """At the best lr the loss is 0.1, at the given one 0.1 + 0.2 |steps|."""
    found = decided(0.01 * FACTOR**steps)
    assert found.setting["lr"] == pytest.approx(0.01 * FACTOR**steps, rel=1e-5)
    assert found.keeps_betas
    assert found.gain.middle == pytest.approx(1 - 0.1 / (0.1 + 0.2 * abs(steps)))
    assert found.lrs[0] < found.setting["lr"] < found.lrs[1]


def test_a_best_learning_rate_beyond_the_search_is_said():
    found = decided(0.01 * FACTOR ** (MOST_FACTORS + 3))
    assert any("largest that was tried" in note for note in found.notes)
    assert not any("tried" in note for note in decided(0.03).notes)


def test_better_betas_are_recommended_at_the_best_learning_rate():
    found = decided(0.03, {0.99: 0.5, 0.95: 0.8})
    assert found.setting == {"beta1": 0.9, "beta2": 0.99, "lr": pytest.approx(0.03)}
    assert found.gain_at_best_lr.middle == pytest.approx(0.5)
    assert found.gain.middle == pytest.approx(1 - 0.5 * 0.1 / 0.3)
    assert not found.keeps_betas


def test_betas_that_are_not_better_leave_the_default():
    found = decided(0.03, {0.99: 1.0, 0.95: 1.2})
    assert found.keeps_betas
    assert not found.keeps_lr


def test_fresh_seeds_decide():
    """A setting that is better on the seeds that choose, and worse on the fresh ones, is not
    recommended.
    """

    class Lucky(PaperTrials):
        def loss(self, setting: Mapping[str, float], seed: int) -> float:
            is_other = setting["beta2"] != DEFAULT["beta2"]
            return super().loss(setting, seed) * (
                1 if not is_other else 1.5 if seed >= 1000 else 0.1
            )

    found = LearningRateSearch(Lucky(0.01), DEFAULT, 0.01).run([{"beta1": 0.9, "beta2": 0.95}])
    assert found.keeps_betas
    assert found.gain_at_best_lr.middle == pytest.approx(-0.5)
    assert found.gain_at_best_lr.seeds == len(FRESH_SEEDS)


def test_a_map_recommends_another_learning_rate_first():
    """Loss (log10(lr) + 1)^2 + 0.01: 0.1 is best, whatever the betas; 0.001 is given."""

    def train(settings: dict[str, float], seed: int) -> list[float]:
        end = 0.01 + (math.log10(settings["lr"]) + 1) ** 2
        return [6.0, *[end] * 50]

    trainer = Trainer("rates", train, defaults={"lr": 0.001})
    found = map_phases(trainer, points=4, seeds=1, workers=0).recommendation
    assert found is not None
    assert found.settings["lr"] == pytest.approx(0.001 * 3**4, rel=1e-5)
    assert (found.settings["beta1"], found.settings["beta2"]) == (0.9, 0.999)
    assert found.reason.startswith("Keep the default (0.9, 0.999) with lr = 0.081: loss")
    fixed = map_phases(trainer, points=4, seeds=1, workers=0, search_lr=False).recommendation
    assert fixed is not None
    assert fixed.decision is None
    assert fixed.settings["lr"] == 0.001


def test_a_function_that_names_no_learning_rate_is_not_searched():
    trainer = Trainer("no lr", lambda settings, seed: [2.0, 1.0])
    found = map_phases(trainer, points=3, seeds=1, workers=0).recommendation
    assert found is None or found.decision is None


def test_what_replaces_another_setting_is_measurably_better_than_it():
    """Rows: gain of the default at its best lr, of the best other setting over the default as given,
    and over the default at its best lr.
    """
    better, noise = (Gain(low, 0.1, 0.2, True, 8, 5) for low in (0.05, -0.05))
    table = {
        (noise, noise, noise): 0, (better, noise, noise): 1, (better, better, noise): 1,
        (noise, better, noise): 0, (noise, noise, better): 0, (better, noise, better): 1,
        (noise, better, better): 2, (better, better, better): 2,
    }  # fmt: skip
    assert {gains: better_than_default(*gains) for gains in table} == table


def test_a_gain_over_a_loss_that_does_not_fall_is_a_share_of_its_own_decrease():
    found = gain(np.full(5, -3.0), np.full(5, 1.0), np.full(5, 1.0))
    assert (found.low, found.middle, found.high) == (1.0, 1.0, 1.0)
    none = gain(np.full(5, 1.0), np.full(5, math.inf), np.full(5, 1.0) * -1)
    assert none.middle == 0.0


def test_the_largest_gain_counts_only_if_it_is_likely():
    gains = [Gain(0.1, 0.2, 0.4, True, 8, 5), Gain(-0.1, 0.3, 0.4, True, 8, 33)]
    none = Gain(0.0, 0.0, 0.0, True, 8, math.inf)
    assert largest_likely([none, *gains]) == 1
    assert largest_likely([none, gains[1], gains[1]]) == 0
    assert largest_likely([none, gains[0], Gain(-0.1, 0.3, 0.4, True, 8, 32)]) == 2


@pytest.mark.parametrize(("errors", "likely"), [(0.99, False), (1.01, True)])
def test_a_gain_is_likely_from_one_standard_error_on(errors, likely):
    """Differences of logarithms with mean 0.1 and a standard error of 0.1 / errors."""
    noise = np.array([1.0, -1.0] * 8) * math.sqrt(15) * 0.1 / errors
    found = gain(np.exp(-0.1 + noise), np.ones(16), np.full(16, 100.0))
    assert not found.is_measurable
    assert found.is_likely is likely
    assert not replace(found, middle=0.009).is_likely


def test_a_gain_says_its_interval():
    found = Gain(0.05, 0.12, 0.18, True, 8, 5)
    assert str(found) == "loss 12% lower (95% interval 5% to 18%, 8 paired seeds)"
    wide = Gain(-20.0, 0.999, 1.0, True, 8, 5)
    assert str(wide) == "loss 100% lower (95% interval -2e+03% to 100%, 8 paired seeds)"

"""Gains of paired seeds at the limits of what is measurable, and where a search looks next."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.maps.test_decision import DEFAULT, PaperTrials

from betaplane.maps.decision import (
    Gain,
    gain,
    half_width,
    heights,
    is_positive,
)
from betaplane.maps.lr_search import LearningRateSearch, Line, _last_share


def of(low: float, middle: float, deciding_seeds: float = 9.0) -> Gain:
    return Gain(low, middle, 0.5, True, 8, deciding_seeds)


def test_a_gain_is_measurable_above_noise_and_from_one_percent_on() -> None:
    assert of(1e-12, 0.01).is_measurable
    assert not of(0.0, 0.01).is_measurable
    assert not of(-1e-12, 0.3).is_measurable
    assert not of(0.005, 0.00999).is_measurable


def test_more_seeds_decide_about_a_gain_of_one_percent_or_more() -> None:
    assert of(-0.1, 0.01, 12.0).could_be_decided_by(4)
    assert not of(-0.1, 0.01, 12.1).could_be_decided_by(4)
    assert not of(-0.1, 0.00999, 9.0).could_be_decided_by(4)
    assert not of(-0.1, 0.01, math.inf).could_be_decided_by(1000)


@pytest.mark.parametrize(
    ("finals", "initial", "positive"),
    [
        ([1.0, 2.0], [4.0, 4.0], True),
        ([1.0, math.nan], [4.0, 4.0], True),  # counts as 4
        ([1.0, math.inf], [4.0, 4.0], True),
        ([1.0, 0.0], [4.0, 4.0], False),
        ([1.0, -1.0], [4.0, 4.0], False),
        ([1.0, 2.0], [4.0, 0.0], False),
        ([1.0, 2.0], [4.0, -1.0], False),
    ],
)
def test_logarithms_are_compared_if_every_loss_is_positive(finals, initial, positive) -> None:
    assert is_positive(np.array(finals), np.array(initial)) == positive


def test_heights_are_logarithms_or_losses_of_at_most_the_initial_one() -> None:
    finals, initial = np.array([[1.0, 9.0], [math.nan, 2.0]]), np.array([4.0, 8.0])
    assert heights(finals, initial, False).tolist() == [[1.0, 8.0], [4.0, 2.0]]
    np.testing.assert_allclose(heights(finals, initial, True), np.log([[1, 8], [4, 2]]))


@pytest.mark.parametrize(
    ("number", "quantile"),
    [(2, 12.706), (4, 3.182), (8, 2.365), (13, 2.179), (14, 2.131), (31, 2.042), (99, 2.042)],
)
def test_quantiles_are_of_the_degrees_of_freedom_or_the_next_more(number, quantile) -> None:
    """Numbers of -1 and 1 in turn; the mean's error is std / sqrt(n) with one degree less."""
    numbers = np.resize([-1.0, 1.0], number)
    error = numbers.std() * math.sqrt(number / (number - 1)) / math.sqrt(number)
    assert half_width(numbers) == pytest.approx(quantile * error)


def test_a_gain_over_one_seed_has_no_interval() -> None:
    found = gain(np.array([1.0]), np.array([2.0]), np.array([4.0]))
    assert (found.middle, found.seeds, found.is_measurable) == (0.5, 1, False)
    assert (found.high, found.deciding_seeds) == (1.0, math.inf)
    assert found.low < -1e300


def test_seeds_that_decide_are_four_variances_over_the_squared_mean() -> None:
    """A mean of 2 with a variance of 4.5: 4 * 4.5 / 4 = 4.5, thus 5 seeds."""
    initial = np.full(2, 100.0)
    for mean, half, seeds in ((1.0, 0.0, 2), (1.0, 0.999, 8), (2.0, 1.5, 5), (-2.0, 1.5, 5)):
        finals = np.exp([half - mean, -half - mean])
        assert gain(finals, np.ones(2), initial).deciding_seeds == seeds
    assert gain(np.exp([1.0, -1.0]), np.ones(2), initial).deciding_seeds == math.inf


def test_gains_of_losses_below_zero_are_shares_of_the_others_decrease() -> None:
    """The other falls by 10 and 30, 20 on average; the setting ends 2 and 6 lower."""
    found = gain(np.array([-4.0, -26.0]), np.array([-2.0, -20.0]), np.array([8.0, 10.0]))
    assert not found.of_loss
    assert found.middle == pytest.approx(4 / 20)
    assert found.high - found.middle == pytest.approx(
        12.706 * np.std([0.1, 0.3], ddof=1) / math.sqrt(2)
    )
    assert found.low == pytest.approx(2 * found.middle - found.high)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0994, "9.9%"),
        (0.0996, "10%"),
        (0.5, "50%"),
        (9.99, "999%"),
        (10.0, "1e+03%"),
        (0.012, "1.2%"),
    ],
)
def test_shares_have_two_digits_or_whole_percents(share, text) -> None:
    found = Gain(share, share, share, True, 3, 3)
    assert str(found) == f"loss {text} lower (95% interval {text} to {text}, 3 paired seeds)"
    worse = Gain(-share, -share, -share, False, 3, 3)
    assert str(worse).startswith(
        f"{text} of the decrease of the loss higher (95% interval -{text} to"
    )


def test_the_expected_loss_is_that_of_a_rate_off_by_a_factor_of_three() -> None:
    """Two thirds of the loss at the rate and a sixth at each neighbor; an end is its own."""
    line = Line({"beta1": 0.9}, 0.01)
    line.finals = {k: np.full(3, loss) for k, loss in {-1: 6.0, 0: 0.0, 1: 12.0}.items()}
    found = line.expected(np.full(3, 20.0), of_loss=False)
    assert found == pytest.approx({-1: 6 * 5 / 6 + 0, 0: (6 + 12) / 6, 1: 12 * 5 / 6})
    assert line.at(2) == {"beta1": 0.9, "lr": 0.09}


def test_the_share_of_the_last_tenth_is_its_fall_over_the_whole() -> None:
    """From 10 to a mean of 4 in the ninth tenth and of 3 in the last: 1 of 7."""
    curve = np.r_[np.full(8, 10.0), np.full(8, 9.0), np.full(2, 4.0), np.full(2, 3.0)]
    assert _last_share(curve) == pytest.approx(1 / 7)
    assert _last_share(curve[:9]) == 0.0
    assert _last_share(np.arange(10.0)[::-1]) == pytest.approx(1 / 9)
    assert _last_share(np.full(20, 3.0)) == 0.0
    assert _last_share(np.arange(20.0)) == 0.0
    assert _last_share(np.r_[curve[:-1], math.nan]) == 0.0


def searched(best: float, others: dict[float, float] | None = None, given: float = 0.01):
    """A search whose loss is 0.1 at `best`, in factors of three from the given learning rate."""
    trials = PaperTrials(given * 3**best, others)
    search = LearningRateSearch(trials, DEFAULT, given)
    return search, search.run([{"beta1": 0.9, "beta2": beta2} for beta2 in trials.others])


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (0, range(-1, 2)),
        (1, range(-1, 3)),
        (3, range(-1, 5)),
        (-1, range(-2, 2)),
        (-3, range(-4, 2)),
        (9, range(-1, 6)),
        (-9, range(-5, 2)),
    ],
)
def test_learning_rates_are_tried_until_the_best_is_inside(best: int, tried: range) -> None:
    """At most five factors of three from the given one."""
    search, found = searched(best)
    assert sorted(search.line.finals) == [*tried]
    assert found.lrs == pytest.approx((0.01 * 3 ** tried[0], 0.01 * 3 ** tried[-1]), rel=1e-5)
    said = [note for note in found.notes if "was tried: start from" in note]
    assert len(said) == (abs(best) > 4)
    if best == 9:
        assert "the largest that was tried: start from --lr 2.43" in said[0]
    if best == -9:
        assert "the smallest that was tried: start from --lr 4.11523e-05" in said[0]


def test_a_rival_worse_than_the_given_setting_leaves_the_better_rate() -> None:
    """At the best rate 0.1, at the given one 0.3, and five times as much with the other beta2."""
    _, found = searched(1, {0.95: 5.0})
    assert found.setting == {**DEFAULT, "lr": pytest.approx(0.03)}
    assert found.gain.middle == pytest.approx(2 / 3)
    assert found.gain_at_best_lr.middle < 0


def test_a_rival_with_its_own_rate_is_tried_around_it() -> None:
    trials = PaperTrials(0.09, {0.99: 0.5})
    search = LearningRateSearch(trials, DEFAULT, 0.01)
    found = search.run([{"beta1": 0.9, "beta2": 0.99, "lr": 0.27}])
    rates = {s["lr"] for s in trials.asked if s["beta2"] == 0.99}
    assert rates == {0.03, 0.09, 0.27, 0.81}
    assert found.setting == {"beta1": 0.9, "beta2": 0.99, "lr": 0.09}
    assert found.best_default == {**DEFAULT, "lr": 0.09}
    assert found.default == {**DEFAULT, "lr": 0.01}


def test_rates_around_the_best_lose_a_tenth_of_the_decrease() -> None:
    """From 2 to 0.1: 0.19 more than 0.1 is allowed, and each factor of three costs 0.2 times the
    factor that varies with the seeds, 1 to 1.02.
    """
    assert searched(0)[1].lr_margin == (0.01, 0.01)
    wide = PaperTrials(0.01)
    wide.initials = lambda seeds: np.full(len(seeds), 2.3)  # 0.22 are allowed
    assert LearningRateSearch(wide, DEFAULT, 0.01).run([]).lr_margin == pytest.approx(
        (0.01 / 3, 0.03), rel=1e-5
    )


def test_runs_that_still_fall_at_the_end_are_not_finished() -> None:
    def notes(last: float) -> tuple[str, ...]:
        trials = PaperTrials(0.01)
        trials.curve = lambda setting, seed: np.r_[2.0, np.full(89, 1.0), np.full(10, last)]
        return LearningRateSearch(trials, DEFAULT, 0.01).run([]).notes

    assert notes(1.0) == ()
    assert notes(0.99) == ()  # 0.01 of 1.01
    assert notes(0.5)[0].startswith("Training is not finished: 33% of the decrease")
    assert notes(0.97)[0].startswith("Training is not finished: 3% of")


def test_a_gain_within_the_noise_is_noted_with_the_seeds_that_would_decide() -> None:
    class Noisy(PaperTrials):
        def loss(self, setting, seed):
            """A fifth better on average, with a spread of a factor of three."""
            loss = super().loss(setting, seed)
            other = setting["beta2"] != DEFAULT["beta2"]
            return loss * 0.8 * 3.0 ** (1 if seed % 2 else -1) if other else loss

    found = LearningRateSearch(Noisy(0.01), DEFAULT, 0.01).run([{"beta1": 0.9, "beta2": 0.95}])
    assert found.keeps_betas
    [note] = [note for note in found.notes if "would decide" in note]
    over = found.gain_at_best_lr
    assert f"less than the noise of {over.seeds} seeds" in note
    assert f"about {over.deciding_seeds:.0f} seeds would decide" in note
    assert searched(0, {0.95: 1.0})[1].notes == ()


def test_more_seeds_are_trained_if_they_are_enough_to_decide() -> None:
    """A gain whose logarithm is 0.2 with a standard deviation of 0.4 needs 16 seeds, not 8."""

    class Noisy(PaperTrials):
        spread = 0.4

        def loss(self, setting, seed):
            sign = 1 if seed % 2 else -1
            other = setting["beta2"] != DEFAULT["beta2"]
            return 0.2 * (math.exp(-0.2 + sign * self.spread) if other else 1.0)

    candidates = [{"beta1": 0.9, "beta2": 0.95}]
    found = LearningRateSearch(Noisy(0.01), DEFAULT, 0.01).run(candidates)
    assert found.gain_at_best_lr.seeds == 24
    Noisy.spread = 0.9  # 81 seeds
    assert LearningRateSearch(Noisy(0.01), DEFAULT, 0.01).run(candidates).gain_at_best_lr.seeds == 8
    Noisy.spread = 0.1  # decided by 8
    assert LearningRateSearch(Noisy(0.01), DEFAULT, 0.01).run(candidates).gain_at_best_lr.seeds == 8

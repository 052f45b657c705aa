"""The likelihood of best half-lives, against a sum over a grid of its own; and published sweeps that
the window never saw.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.advise import (
    ASIDE,
    carry_errors,
    contains,
    law_errors,
    leave_one_out,
    regret,
    regrets,
)

from betaplane.advice import Experiment, evidence
from betaplane.advice.evidence import UNITS
from betaplane.advice.half_lives import (
    MAX_WINDOW,
    PRIOR_DEVIATION,
    PRIOR_SAMPLES,
    Observation,
    Spread,
    spread,
)
from betaplane.advice.lr import LAW_FACTOR, batch_exponent
from betaplane.advice.settings import LR_EXPONENT

OPTIMA = (Observation("a", 7.0, 0.1), Observation("a", 7.2, 0.3), Observation("b", 7.5, 0.05))
BOUNDS = (Observation("c", 7.4, side=1), Observation("d", 7.9, side=-1))


def center(*observations: Observation) -> float:
    """The center of the window, in decades."""
    found = spread(observations)
    return math.log10(found.low * found.high) / 2


def normal(z: float) -> float:
    return math.exp(-z * z / 2)


def by_hand(observations, prior) -> tuple[float, float]:
    """Mean and width of the next half-life, summed in plain Python on a grid of its own."""
    sources = [one.source for one in observations]
    total = mean = square = 0.0
    for i in range(141):
        for j in range(60):
            mu, omega = 5.0 + 0.035 * i, 0.05 * 60 ** (j / 59)
            p = normal((mu - prior[0]) / prior[1])
            p *= omega**-PRIOR_SAMPLES * math.exp(
                -PRIOR_SAMPLES * PRIOR_DEVIATION**2 / (2 * omega**2)
            )
            for one in observations:
                s = math.sqrt(omega**2 + one.deviation**2)
                z = (one.value - mu) / s
                likelihood = (
                    math.erfc(one.side * z / math.sqrt(2)) / 2 if one.side else normal(z) / s
                )
                p *= likelihood ** (1 / sources.count(one.source))
            total, mean, square = total + p, mean + p * mu, square + p * (mu**2 + omega**2)
    mean /= total
    return mean, 2 * 1.645 * math.sqrt(square / total - mean**2)


def expectile(share: float) -> float:
    """Where share times the mean excess of a normal variable equals the rest times its shortfall."""
    low, high = -3.0, 3.0
    while high - low > 1e-9:
        e = (low + high) / 2
        above = math.exp(-e * e / 2) / math.sqrt(2 * math.pi) - e * math.erfc(e / math.sqrt(2)) / 2
        low, high = (e, high) if share * above > (1 - share) * (above + e) else (low, e)
    return low


@pytest.mark.parametrize("observations", [OPTIMA, OPTIMA + BOUNDS], ids=["optima", "with bounds"])
def test_center_and_width_equal_a_plain_sum(observations):
    prior = (7.3, 0.45)
    mean, width = by_hand(observations, prior)
    found = spread(observations, prior)
    assert math.log10(found.low * found.high) / 2 == pytest.approx(mean, abs=2e-3)
    assert found.decades == pytest.approx(width, rel=1e-2)
    above = math.log10(found.point) - mean
    assert above == pytest.approx(expectile(2 / 3) * width / (2 * 1.645), abs=4e-3)


def test_a_bound_pulls_the_center_to_its_side():
    alone = center(*OPTIMA)
    assert center(*OPTIMA, Observation("c", 7.4, side=1)) > alone
    assert center(*OPTIMA, Observation("c", 7.0, side=-1)) < alone
    assert center(*OPTIMA, Observation("c", 4.0, side=1)) == pytest.approx(alone, abs=1e-2)


def test_the_center_moves_with_its_observations():
    moved = [Observation(o.source, o.value + 1, o.deviation, o.side) for o in OPTIMA + BOUNDS]
    assert center(*moved) == pytest.approx(center(*OPTIMA, *BOUNDS) + 1, abs=1e-4)


def test_a_sharp_optimum_weighs_more_than_a_flat_one():
    def middle(deviation: float) -> float:
        return center(Observation("a", 7.0, 0.1), Observation("b", 8.0, deviation))

    assert middle(0.1) == pytest.approx(7.5, abs=1e-3)
    assert 7.0 < middle(1.0) < 7.3 < middle(0.3) < middle(0.1)


def test_a_source_with_many_sweeps_weighs_as_much_as_one_with_few():
    few = center(Observation("a", 7.0, 0.1), Observation("b", 8.0, 0.1))
    many = center(*[Observation("a", 7.0, 0.1)] * 9, Observation("b", 8.0, 0.1))
    assert many == pytest.approx(few, abs=1e-6)


def test_the_window_is_at_most_1_1_decades_and_1_5_are_still_known():
    assert MAX_WINDOW == 1.1
    known = [Spread(1.0, 0.1, 10.0, (), decades).known for decades in (1.49, 1.5, 1.505)]
    assert known == [True, True, False]


def test_sweeps_that_contradict_each_other_have_a_center_between_them():
    far = [Observation(f"s{i}", value) for i, value in enumerate((0.0, 0.0, 12.0, 12.0))]
    bounds = [Observation("t", 46.0, side=1), Observation("u", -34.0, side=-1)]
    assert 5.9 < center(*far) < 6.1
    assert 5.9 < center(*far, *bounds) < 6.1


def test_the_window_is_capped_and_says_when_nothing_is_known():
    apart = spread((Observation("a", 3.0), Observation("b", 6.0)))
    assert math.log10(apart.high / apart.low) == pytest.approx(MAX_WINDOW)
    assert apart.decades > 1.5
    assert not apart.known
    known = {unit: found.known for unit in UNITS if (found := evidence().half_lives(unit))}
    assert known == {"tokens": True, "samples": False}


GRID = Experiment(
    "s", "", "tokens", 100.0, (0.5,), betas=(0.25, 0.5, 0.5**0.5), losses=(1.3, 1.0, 1.1)
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.25, 0.3), (0.5, 0.0), (0.5**0.5, 0.1), (0.5 ** (2**-0.5), 0.05), (0.1, 0.3), (0.999, 0.1)],
    ids=["low end", "best", "high end", "between, half of a step", "below", "above"],
)
def test_regret_is_interpolated_in_log_half_lives_and_held_outside(value, expected):
    """The half-lives of 0.25, 0.5 and sqrt(0.5) are a half, 1 and 2 steps."""
    assert regret(GRID, value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("before", "inside"),
    [(None, [True, False, False]), (0.6, [True, True, False]), (0.4, [True, False, True])],
    ids=["optimum", "end from above", "end from below"],
)
def test_a_window_contains_an_end_of_a_sweep_if_it_reaches_to_it(before, inside):
    """The best half-life is 100 tokens; beyond an end the best one may be shorter, or longer."""
    one = replace(GRID, kind="end" if before else "optimum", next=before, losses=())
    windows = ((50.0, 200.0), (10.0, 99.0), (101.0, 200.0))
    assert [contains(window, one) for window in windows] == inside


def test_windows_hold_nine_of_ten_optima_of_sources_they_never_saw():
    rows = leave_one_out(evidence())
    used = [row for name, row in rows.items() if ASIDE not in name]
    inside, number = (sum(row[i] for row in used) for i in (0, 1))
    assert len(used) >= 4
    assert inside >= 0.9 * number
    assert sum(row[2] for row in used) / len(used) <= MAX_WINDOW + 1e-9
    (aside,) = (row for name, row in rows.items() if ASIDE in name)
    assert aside[0] == aside[1] == 7


def test_advice_that_never_saw_a_grid_loses_less_on_it_than_constants():
    rows = regrets(evidence())
    mean = {
        label: sum(row[label].sum() for row in rows.values())
        for label in ("advice", "0.95", "0.99", "0.999")
    }
    assert 2 * mean["advice"] < min(mean["0.95"], mean["0.99"], mean["0.999"])
    (aside,) = (row for name, row in rows.items() if ASIDE in name)
    assert aside["advice"].mean() <= min(aside[c].mean() for c in ("0.95", "0.99", "0.999"))


def test_the_exponent_of_lr_is_the_fit_to_published_sweeps():
    dense = [sweep for sweep in evidence().lr_sweeps if sweep.model == "dense"]
    assert batch_exponent(dense) == pytest.approx(LR_EXPONENT, abs=0.01)


def test_carrying_lr_over_by_the_fit_misses_less_than_other_rules():
    errors = carry_errors(evidence())
    assert len(errors) == 4
    for rows in errors.values():
        middle = {
            label: np.median(abs(errors)) for label, errors in rows.items() if label != "range"
        }
        assert middle["fitted"] < min(middle["unchanged"], middle["sqrt(k)"])
        assert rows["range"].mean() > 0.8


def test_the_range_of_the_law_of_lr_holds_most_of_its_sweeps():
    errors = [next(iter(rows.values())) for rows in law_errors(evidence()).values()]
    within = [np.mean(abs(values) <= math.log(LAW_FACTOR)) for values in errors]
    assert within[2] > 0.86  # the law's own sweeps
    assert within[3] > 0.9  # mixtures of experts


def test_the_law_of_lr_is_closer_with_the_batch_size():
    errors = law_errors(evidence())
    assert len(errors) == 4
    for rows in errors.values():
        by_batch, best = (abs(rows[label]).mean() for label in list(rows)[:2])
        assert by_batch < best

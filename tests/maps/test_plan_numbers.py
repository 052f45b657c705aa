"""Plans: the ends of their sentences, default values, keys, and axes that leave the usual scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.maps.grid import Axis, axis, distance_units
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, Thresholds
from betaplane.maps.plan import common_settings, default_values, plan_for, run_settings
from betaplane.maps.tune_model import correlation
from betaplane.maps.validation import axis_range, checked
from betaplane.maps.verdicts import is_decided, mark
from betaplane.problems import Problem, Trainer
from betaplane.rules import Adam

TRAINER = Trainer("mine", lambda settings, seed: [1.0])


def planned(*axes: object, **how: object):
    return plan_for(TRAINER, *axes, **{"points": 2, **how})


def sentence(**how: object) -> str:
    with pytest.raises(BadInput) as raised:
        planned(**how)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "example"),
    [("seeds", 2), ("boundary_seeds", 4), ("steps", 1000), ("batch_size", 32), ("trainings", 400)],
)
def test_a_count_that_is_none_gets_an_example(name, example):
    largest = "1000]" if "seeds" in name else "inf)"
    assert sentence(**{name: 0}).endswith(f"expected [1, {largest} ({name}). Try: {name}={example}")
    assert sentence(**{name: 1.5}).endswith(
        f"expected 1, 2, 3, ... ({name}). Try: {name}={example}"
    )
    assert getattr(planned(**{name: 1}), name) == 1


def test_examples_of_other_arguments_end_their_sentences():
    assert sentence(lr=0.0).endswith("expected (0, inf) (lr). Try: lr=0.001")
    assert sentence(lr="x").endswith("expected a number (lr). Try: lr=0.001")
    assert sentence(beta1="x").endswith("(beta1). Try: beta1=0.9")
    assert sentence(beta2="x").endswith("(beta2). Try: beta2=0.999")
    assert sentence(seconds=0).endswith("(seconds). Try: seconds=1200")
    assert sentence(budget=0).endswith('(budget). Try: budget="20m"')
    assert sentence(dense="x").endswith("expected bool (dense). Try: dense=True")
    assert sentence(search_lr=0).endswith("expected bool (search_lr). Try: search_lr=False")
    assert sentence(options=1).endswith(
        "expected Options (options). Try: options=Options(points=100)"
    )
    assert sentence(thresholds=1).endswith(
        "expected Thresholds (thresholds). Try: thresholds=Thresholds(good=0.05, failing=0.5)"
    )
    assert sentence(thresholds=Thresholds(0.2, 0.1)).endswith(
        "(thresholds). Try: thresholds=Thresholds(good=0.05, failing=0.5)"
    )
    assert sentence(points=1.5).endswith("or a pair of them (points). Try: points=24")
    assert sentence(dense=True, points=(1001, 1000), seeds=1).endswith(
        "expected at most 1,000,000 runs (points, seeds). Try: points=64, seeds=2"
    )
    assert sentence(engine="plane").endswith(
        'Choose one of: auto, stacked, plain (engine). Try: engine="plain"'
    )


def test_a_map_that_is_not_dense_may_have_a_million_cells():
    assert planned(points=(1001, 1000), seeds=1).shape == (1001, 1000)


def test_default_values_are_those_of_the_rule_and_not_of_the_plan():
    assert default_values(planned("beta1", "beta2")) == {"beta1": 0.9, "beta2": 0.999}
    changed = planned("eps", "lr", rule=Adam(eps=1e-3))
    assert default_values(changed) == {"eps": Adam().eps}
    assert default_values(planned("beta1", "batch_size")) == {}
    assert default_values(planned("batch_size", "lr")) == {}


def test_marked_settings_keep_the_other_hyperparameters():
    found = common_settings({"lr": 0.5, "eps": 1e-3})
    assert [*found.values()] == [
        {"lr": 0.5, "eps": 1e-3, "beta1": 0.9, "beta2": beta2} for beta2 in (0.999, 0.95)
    ]


def test_a_run_is_stored_with_its_rule_options_and_hyperparameters():
    plan = planned("beta1", "lr", rule="adamw:weight_decay=0.2", batch_size=7)
    found = run_settings(plan.run((1, 0), 3))
    assert (found["rule"], found["beta1"], found["lr"], found["batch_size"]) == (
        "AdamW",
        0.99,
        1e-4,
        7,
    )
    assert found["weight_decay"] == 0.2
    assert set(plan.fixed) == set(plan.settings((1, 1))) - {"beta1", "lr"}


def test_the_largest_of_three_batch_sizes_fits_the_problem():
    x = torch.ones(8, 1)
    line = Problem(
        "line", lambda: nn.Linear(1, 1), nn.functional.mse_loss, x, x, batch_size=4, steps=10
    )
    with pytest.raises(BadInput):
        plan_for(line, ("batch_size", 1, 9), "lr", points=3)
    assert plan_for(line, ("batch_size", 1, 8), "lr", points=3).x.values == (1, 3, 8)


# scales


def test_a_linear_axis_is_three_units_long():
    x = axis("beta2", 0.5, 0.9, 5, scale="linear")
    assert x.values == (0.5, 0.6, 0.7, 0.8, 0.9)
    np.testing.assert_allclose(x.positions, [0, 0.75, 1.5, 2.25, 3])
    assert x.value(1.5) == pytest.approx(0.7)
    assert not x.horizons
    assert x.label == "beta2"
    assert axis("batch_size", 4, 8, 3, scale="linear").values == (4, 6, 8)
    log = axis("beta2", 0.5, 0.9, 3)
    assert (log.horizons, log.value(1.0), Axis("lr", (0.1, 1.0)).value(-2.0)) == (
        True,
        pytest.approx(0.9),
        pytest.approx(0.01),
    )
    assert Axis("lr", (0.5, 0.5), "linear").position(0.5) == 0.0


@pytest.mark.parametrize(
    ("x", "y", "units"),
    [
        ("log", "log", ("decade", "decades")),
        ("linear", "linear", ("third of an axis", "thirds of an axis")),
        ("log", "linear", ("decade or third of an axis", "decades or thirds of an axis")),
    ],
)
def test_distances_are_in_decades_or_thirds_of_an_axis(x, y, units):
    assert distance_units(Axis("lr", (0.1, 1.0), x), Axis("eps", (0.1, 1.0), y)) == units


LINEAR = [  # axis, low that is in its range, low that is not, the range
    ("lr", 1e-9, 0.0, "(0, inf)"),
    ("eps", 0.0, -1e-9, "[0, inf)"),
    ("weight_decay", 0.0, -1e-9, "[0, inf)"),
    ("beta1", 0.0, -1e-9, "[0, 1)"),
    ("batch_size", 1, 0, "[1, inf)"),
]


@pytest.mark.parametrize(("name", "low", "outside", "interval"), LINEAR)
def test_a_linear_axis_may_begin_at_0_if_0_is_valid(name, low, outside, interval):
    high = 0.5 if name == "beta1" else 4
    assert axis(name, low, high, 2, scale="linear").values == (low, high)
    with pytest.raises(BadInput) as raised:
        axis(name, outside, high, 2, scale="linear")
    assert f"low < high, both in {interval}" in str(raised.value)


def test_options_of_a_problem_may_be_any_numbers_on_a_linear_axis():
    found = axis("n", -5, 5, 3, scale="linear", whole=True)
    assert (found.values, found.of_problem) == ((-5, 0, 5), True)
    assert axis("n", 1, 10, 3, scale="linear", whole=True).values == (1, 6, 10)
    assert axis("a", 1, 10, 3, scale="linear", whole=False).values == (1, 5.5, 10)
    assert axis("n", 1, 100, 4, whole=True).values == (1, 5, 22, 100)
    assert not axis("lr", 0.1, 1, 2).of_problem
    with pytest.raises(BadInput) as raised:
        axis("n", 5, 5, 3, whole=True)
    assert str(raised.value).endswith('(axis). Try: axis("n", 5, 50, 24)')
    with pytest.raises(BadInput, match="Unknown axis 'n'"):
        axis("n", 1, 5, 3)
    with pytest.raises(BadInput, match="Unknown scale 'cubic'"):
        axis("lr", 0.1, 1, 3, scale="cubic")


def test_an_axis_gives_a_scale_or_takes_that_of_the_plan():
    plan = planned(("beta1", 0.0, 0.9, "linear"), ("lr", None, None))
    assert (plan.x.scale, plan.y.scale) == ("linear", "log")
    both = planned(("beta1", 0.0, 0.9), ("lr", 0.1, 1.0, "log"), scale="linear")
    assert (both.x.scale, both.y.scale) == ("linear", "log")
    assert axis_range(("lr", 1, 2, "log"), "x") == ("lr", 1, 2, "log")
    assert axis_range(("lr", 1, 2, None), "x") == ("lr", 1, 2, None)
    for bad in (("lr", 1, 2, 3), ("lr", 1, "log"), ("lr", "1", 2, "log"), ("lr", 1, 2, "log", 1)):
        with pytest.raises(BadInput, match="x is not an axis"):
            axis_range(bad, "x")


def test_arguments_are_checked_by_their_types():
    names = ["rule", "seeds", "seconds", "lr", "engine", "dense"]
    assert checked({"engine": "plain", "dense": False}, names)["engine"] == "plain"
    assert checked({"seconds": 1.5}, names)["seconds"] == 1.5
    for how in ({"seconds": "x"}, {"seconds": 0}, {"seeds": 1.0}, {"lr": True}, {"engine": 3}):
        with pytest.raises(BadInput):
            checked(how, names)


# verdicts


def test_a_mark_outside_the_map_keeps_its_name_and_place():
    x, y = Axis("beta1", (0.0, 0.9)), Axis("beta2", (0.9, 0.99))
    outside = mark("mine", {"beta1": 0.5, "beta2": 0.99999}, x, y, np.zeros((2, 2), np.int8))
    assert (outside.label, outside.x, outside.y) == ("mine", 0.5, 0.99999)
    assert (outside.verdict, outside.distance) == (None, math.inf)


@pytest.mark.parametrize(
    ("scores", "decided"),
    [
        ([0.01, 0.02], True),
        ([0.01, 0.051], False),
        ([0.6, math.inf], True),
        ([0.1, 0.2], True),  # both degraded
        ([0.2, 0.21, 0.22, 0.6], False),  # degraded or failing
        ([0.04, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3], True),  # 0.21 to 0.33
        ([0.01, 0.5], False),
    ],
)
def test_a_verdict_is_decided_if_no_threshold_is_in_the_interval(scores, decided):
    assert is_decided(scores, Thresholds(good=0.05, failing=0.5)) == decided


def test_verdicts_are_numbered_from_good_to_failing():
    assert (GOOD, DEGRADED, FAILING) == (0, 1, 2)
    assert Thresholds() == Thresholds(good=0.05, failing=0.5)


# the model of `tune`


def test_the_correlation_is_matern_five_halves():
    """1 at no distance, and the same at equal distances; sqrt(5) at one length is 0.5240."""
    ones, twos = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)
    points = np.array([[0.0, 0.0, 0.0], [0.3, 0.1, -0.2], [5.0, 0.0, 0.0]])
    found = correlation(points, points, ones)
    np.testing.assert_allclose(np.diag(found), 1.0)
    np.testing.assert_allclose(found, found.T)
    assert (found[0, 2] < found[0, 1]) & (found[0, 1] < 1)
    np.testing.assert_allclose(correlation(2 * points, 2 * points, twos), found)
    c = math.sqrt(5)
    away = np.diag([0.5, 2.0, 7.0])
    np.testing.assert_allclose(
        correlation(np.zeros((1, 3)), away, (0.5, 2.0, 7.0))[0], (1 + c + 5 / 3) * math.exp(-c)
    )

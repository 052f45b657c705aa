"""Axes and plans: worked numbers and ends of ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps.grid import Axis, axis, explicit, position
from betaplane.maps.phase_map import Thresholds
from betaplane.maps.plan import common_settings, plan_for
from betaplane.maps.validation import marked_setting
from betaplane.problems import Trainer, counterexample


def test_positions_are_decades():
    assert [position("beta1", b) for b in (0.0, 0.9, 0.999)] == [0.0, 1.0, 3.0]
    assert [position("lr", v) for v in (1.0, 0.1, 0.0)] == [0.0, -1.0, -math.inf]
    assert position("weight_decay", -1.0) == -math.inf
    np.testing.assert_array_equal(Axis("eps", (1e-8, 1e-4)).positions, [-8.0, -4.0])


def test_axes_are_even_in_decades():
    assert axis("beta1", 0.9, 0.99, 3).values == (0.9, pytest.approx(1 - 10**-1.5, abs=1e-5), 0.99)
    assert axis("lr", 1e-4, 1e-2, 3).values == (1e-4, 1e-3, 1e-2)
    assert axis("lr", 1e-4, 1e-3, 3).values[1] == 3.162e-4
    assert axis("batch_size", 1, 4, 9).values == (1, 2, 3, 4)
    assert axis("batch_size", 1, 2, 2).values == (1, 2)
    assert len(axis("beta2", 0.0, 0.9999, 24)) == 24
    assert explicit("beta1", [0.9, 0.5, 0.9]).values == (0.5, 0.9)
    assert explicit("beta1", [0.5, 0.9]).values == (0.5, 0.9)


@pytest.mark.parametrize(
    ("name", "low", "high", "points"),
    [
        ("beta1", 0.0, 1.0, 3), ("beta1", -0.1, 0.9, 3), ("beta1", 0.9, 0.9, 3), ("beta1", 0.9, 0.5, 3),
        ("lr", 0.0, 1.0, 3), ("batch_size", 0.5, 4, 3), ("lr", 0.1, math.inf, 3), ("lr", 1.0, 1.00001, 2),
        ("beta1", 0.0, 0.9, 1), ("x", 0, 1, 2),
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(name, low, high, points):
    with pytest.raises(BadInput):
        axis(name, low, high, points)


def test_the_position_of_no_memory_is_plain_zero():
    assert math.copysign(1, position("beta1", 0.0)) == 1
    assert position("beta1", 0.3) == 0.154901959986  # 12 decimals, so that decades are whole
    assert axis("beta1", 0.0, 0.9, 2).values == (0.0, 0.9)
    assert math.copysign(1, axis("beta1", 0.0, 0.9, 2).values[0]) == 1


def test_an_axis_of_betas_is_labeled_by_its_horizon():
    assert Axis("beta2", (0.0, 0.9)).label == "beta2, by memory horizon 1/(1-beta2) in steps"
    assert Axis("lr", (0.1, 1.0)).label == "lr"


FAULTS = [  # axis, argument, end of the sentence
    (("batch_size", 4, 4, 3), "", '(axis). Try: axis("batch_size", 4, 256, 24)'),
    (("batch_size", 4, 4, 3), "x", '(x). Try: x=("batch_size", 4, 256)'),
    (("beta1", 0.9, 0.5, 3), "", '(axis). Try: axis("beta1", 0, 0.99, 24)'),
    (("beta2", 0.9, 0.5, 3), "y", '(y). Try: y=("beta2", 0, 0.9999)'),
    (("lr", 0.0, 0.1, 3), "x", '(x). Try: x=("lr", 0.0001, 0.1)'),
    (("lr", 1.0, 1.00001, 2), "x", '(x). Try: x=("lr", 0.0001, 0.1)'),
    (("lr", 1.0, 1.00001, 2), "", '(axis). Try: axis("lr", 0.0001, 0.1, 24)'),
    (("lr", True, 0.1, 3), "", '(axis). Try: axis("lr", 0.0001, 0.1, 24)'),
    (("lr", 0.01, True, 3), "", '(axis). Try: axis("lr", 0.0001, 0.1, 24)'),
    (("lr", 0.01, 0.1, True), "", '(axis). Try: axis("lr", 0.0001, 0.1, 24)'),
    (("lr", "1e-3", 0.1, 3), "y", '(y). Try: y=("lr", 0.0001, 0.1)'),
    (("lr", 1e-3, 0.1, 1), "x", "expected [2, inf) (points). Try: points=24"),
    (("epss", 0.1, 0.2, 3), "", '(axis). Try: name="eps"'),
    (("epss", 0.1, 0.2, 3), "x", '(x). Try: x="eps"'),
]


@pytest.mark.parametrize(("given", "argument", "end"), FAULTS, ids=str)
def test_an_axis_that_is_none_gets_an_example(given, argument, end):
    with pytest.raises(BadInput) as raised:
        axis(*given, argument=argument)
    assert str(raised.value).endswith(end)


@pytest.mark.parametrize(
    ("name", "low", "high", "interval"),
    [
        ("beta1", 0.0, 1.0, "[0, 1)"),
        ("batch_size", 1, 2, "[1, inf)"),
        ("lr", 1e-300, 1e300, "(0, inf)"),
    ],
)
def test_the_ends_of_an_axis_are_those_of_what_exists(name, low, high, interval):
    explicit(name, (low, high * 0.9999))
    for values in ((low - 0.001, high / 2), (low, math.inf)):
        with pytest.raises(BadInput) as raised:
            explicit(name, values)
        assert f"low < high, both in {interval}" in str(raised.value)


def test_linear_axes_are_even_in_values():
    assert axis("beta2", 0.0, 0.9, 4, scale="linear").values == (0.0, 0.3, 0.6, 0.9)
    assert axis("weight_decay", 0.0, 0.2, 3, scale="linear").values == (0.0, 0.1, 0.2)
    assert axis("batch_size", 1, 5, 3, scale="linear").values == (1, 3, 5)
    linear = axis("lr", 0.1, 0.5, 5, scale="linear")
    np.testing.assert_allclose(linear.positions, [0.0, 0.75, 1.5, 2.25, 3.0], rtol=1e-12)
    assert [linear.value(place) for place in (0.0, 1.5, 3.0)] == pytest.approx([0.1, 0.3, 0.5])


def test_linear_axes_are_chosen_together_or_one_by_one():
    trainer = Trainer("mine", lambda settings, seed: [1.0])
    plan = plan_for(trainer, "beta1", ("lr", 0.1, 0.3, "log"), points=3, scale="linear")
    assert (plan.x.scale, plan.y.scale) == ("linear", "log")
    assert plan.x.values == (0.0, 0.495, 0.99)
    plan = plan_for(trainer, ("beta1", 0.0, 0.8, "linear"), "beta2", points=3)
    assert (plan.x.values, plan.y.scale) == ((0.0, 0.4, 0.8), "log")
    with pytest.raises(BadInput, match=r"Unknown scale 'lin'\. Did you mean 'linear'"):
        plan_for(trainer, scale="lin")
    with pytest.raises(BadInput, match=r"Invalid range for the lr axis.*\(0, inf\)"):
        axis("lr", 0.0, 1.0, 3, scale="linear")


USUAL = {
    "beta1": (0.0, 0.99), "beta2": (0.0, 0.9999), "lr": (1e-4, 0.1), "eps": (1e-12, 0.1),
    "batch_size": (4, 256), "weight_decay": (1e-4, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_the_usual_range_of_an_axis(name):
    rule = "adamw" if name == "weight_decay" else "adam"
    trainer = Trainer("mine", lambda settings, seed: [1.0])
    plan = plan_for(trainer, name, "beta1" if name == "beta2" else "beta2", rule=rule)
    assert (plan.x.values[0], plan.x.values[-1]) == USUAL[name]
    assert len(plan.x) == len(plan.y) == 24
    low = USUAL[name][0] * 1.5 + (name in ("beta1", "beta2")) * 0.5
    plan = plan_for(
        trainer,
        (name, low, None),
        "beta1" if name == "beta2" else "beta2",
        points=(3, 5),
        rule=rule,
    )
    assert plan.x.values[-1] == USUAL[name][1]
    assert plan.shape == (3, 5)


def test_a_plan_takes_what_is_left_out_from_the_problem():
    problem = counterexample(n=5)
    plan = plan_for(problem, "beta1", "lr", points=3)
    assert (plan.lr, plan.batch_size, plan.steps) == (problem.lr, problem.batch_size, problem.steps)
    run = plan.run((1, 2), 7)
    assert (run.rule.beta1, run.lr, run.batch_size, run.seed) == (
        plan.x.values[1],
        plan.y.values[2],
        1,
        7,
    )
    assert plan.at((1, 2)) == {"beta1": plan.x.values[1], "lr": plan.y.values[2]}
    assert plan.settings((1, 2))["lr"] == 0.1
    assert plan.fixed.keys() == {*plan.settings((0, 0))} - {"beta1", "lr"}
    assert plan.run((0, 0), 0).lr == 1e-4
    sizes = plan_for(
        Trainer("mine", lambda s, seed: [1.0], defaults={"lr": 0.5}),
        "beta1",
        "batch_size",
        points=3,
    )
    assert (sizes.lr, sizes.run((0, 2), 0).batch_size, sizes.run((0, 2), 0).lr) == (0.5, 256, 0.5)


LIMITS = [  # what a plan of 2 x 2 cells may be, and what it may not
    ({"seeds": 1000}, {"seeds": 1001}),
    ({"seeds": 1}, {"seeds": 0}),
    ({"boundary_seeds": 1000}, {"boundary_seeds": 1001}),
    ({"trainings": 1}, {"trainings": 0}),
    ({"batch_size": 1}, {"batch_size": 0}),
    ({"steps": 1}, {"steps": 0}),
    ({"lr": 1e-300}, {"lr": 0.0}),
    ({"lr": 1e300}, {"lr": math.inf}),
    ({"dense": True, "trainings": 8, "seeds": 2}, {"dense": True, "trainings": 7, "seeds": 2}),
    (
        {"dense": False, "trainings": 7, "seeds": 2},
        {"dense": True, "points": (1000, 1001), "seeds": 1},
    ),
    (
        {"dense": True, "points": (1000, 1000), "seeds": 1},
        {"dense": True, "points": (1000, 500), "seeds": 3},
    ),
    ({"thresholds": Thresholds(0.1, 0.1)}, {"thresholds": Thresholds(0.1, 0.09)}),
    ({"thresholds": Thresholds(1e-9, 0.1)}, {"thresholds": Thresholds(0.0, 0.1)}),
]


@pytest.mark.parametrize(("fits", "exceeds"), LIMITS, ids=str)
def test_the_limits_of_a_plan(fits, exceeds):
    trainer = Trainer("mine", lambda settings, seed: [1.0])
    plan = plan_for(trainer, **{"points": 2, **fits})
    assert all(getattr(plan, name) == value for name, value in fits.items() if name != "points")
    with pytest.raises(BadInput):
        plan_for(trainer, **{"points": 2, **exceeds})


def test_a_rule_has_only_its_own_axes():
    trainer = Trainer("mine", lambda settings, seed: [1.0])
    assert plan_for(trainer, "lr", "batch_size", points=2, rule="sgd").x.name == "lr"
    for name in ("beta1", "eps"):
        with pytest.raises(BadInput, match=f"SGD has no {name} to put on an axis"):
            plan_for(trainer, name, "lr", points=2, rule="sgd")


def test_equal_runs_have_equal_keys_in_any_map():
    problem = counterexample(n=5)
    one, other = (
        plan_for(problem, x=("beta1", 0.0, high), points=points)
        for high, points in ((0.9, 2), (0.99, 3))
    )
    assert one.at((1, 0)) == other.at((1, 0))
    key = one.key(one.run((1, 0), 3))
    assert key == other.key(other.run((1, 0), 3))
    keys = {one.key(one.run(spot, seed)) for spot in np.ndindex(one.shape) for seed in range(2)}
    assert len(keys) == 8
    faster = plan_for(problem, x=("beta1", 0.0, 0.9), points=2, lr=one.lr * 2)
    assert faster.key(faster.run((1, 0), 3)) not in keys


def test_a_setting_that_is_no_number_is_refused_with_an_example():
    example = r'settings={"beta1": 0\.9}$'
    with pytest.raises(BadInput, match=rf"beta1 is not a number: got 'x'; .* Try: {example}"):
        marked_setting({"beta1": "x"})
    assert marked_setting({"beta1": 0.5}) == {"beta1": 0.5}


def test_the_marked_settings_are_torchs_default_and_that_of_language_models():
    marks = common_settings({"lr": 0.1, "beta1": 0.5})
    betas = {label: (each["beta1"], each["beta2"], each["lr"]) for label, each in marks.items()}
    assert betas == {
        "(0.9, 0.999) torch's default": (0.9, 0.999, 0.1),
        "(0.9, 0.95) language models": (0.9, 0.95, 0.1),
    }

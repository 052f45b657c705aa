"""What a plan and its arguments may be: the limits, and what is said beyond them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.maps.grid import axis
from betaplane.maps.phase_map import Thresholds
from betaplane.maps.plan import plan_for
from betaplane.maps.validation import (
    axis_range,
    check_resources,
    checked,
    grid_points,
    marked_setting,
    seconds_in,
    whole,
)
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options
from betaplane.rules import Adam

TRAINER = Trainer("mine", lambda settings, seed: [1.0])


def planned(*axes: object, **how: object):
    return plan_for(TRAINER, *axes, **{"points": 2, **how})


FAULTS = [
    ({"seeds": 0}, "seeds is out of range: got 0; expected [1, 1000] (seeds). Try: seeds=2"),
    ({"steps": 0}, "steps is out of range: got 0; expected [1, inf) (steps). Try: steps=1000"),
    ({"trainings": 0}, "expected [1, inf) (trainings). Try: trainings=400"),
    ({"boundary_seeds": 0}, "expected [1, 1000] (boundary_seeds). Try: boundary_seeds=4"),
    ({"batch_size": 0}, "expected [1, inf) (batch_size). Try: batch_size=32"),
    ({"seeds": 1.5}, "(seeds). Try: seeds=2"),
    ({"boundary_seeds": 1.5}, "(boundary_seeds). Try: boundary_seeds=4"),
    ({"steps": 1.5}, "(steps). Try: steps=1000"),
    ({"batch_size": 1.5}, "(batch_size). Try: batch_size=32"),
    ({"trainings": 1.5}, "(trainings). Try: trainings=400"),
    ({"lr": 0.0}, "lr is out of range: got 0.0; expected (0, inf) (lr). Try: lr=0.001"),
    (
        {"x": "beta1", "y": "beta1"},
        "Both axes are the same: got 'beta1'; expected two different hyperparameters (x, y). "
        'Try: x="beta1", y="beta2"',
    ),
    ({"x": "beta2", "y": "beta2"}, 'Try: x="beta1", y="beta2"'),
    ({"x": "eps", "y": "eps"}, 'Try: x="eps", y="beta2"'),
    ({"x": "lr", "y": "lr", "rule": "sgd"}, 'Try: x="lr", y="batch_size"'),
    ({"x": "beta1", "y": "lr", "rule": "sgd"}, '(x). Try: rule="adam"'),
    ({"x": "lr", "y": "eps", "rule": "sgd"}, '(y). Try: y="lr"'),
    (
        {"x": "eps", "y": "lr", "rule": "sgd"},
        "SGD has no eps to put on an axis: got 'eps'; expected lr, batch_size, weight_decay",
    ),
    (
        {"dense": True, "trainings": 7, "seeds": 2},
        "got 7; expected [8, inf) (trainings). Try: trainings=8",
    ),
    (
        {"dense": True, "points": (1001, 1000), "seeds": 1},
        "got 1001000; expected at most 1,000,000 runs",
    ),
    (
        {"thresholds": Thresholds(0.2, 0.1)},
        "The thresholds are not in order: got (0.2, 0.1); expected 0 < good <= failing",
    ),
    ({"points": 1}, "An axis needs at least 2 points: got 1"),
    ({"x": ("beta1", 0.5, 0.5)}, "Invalid range for the beta1 axis: got (0.5, 0.5)"),
    ({"engine": "fast"}, "Unknown engine 'fast'"),
    ({"dense": 1}, "dense is of the wrong type: got 1; expected bool (dense). Try: dense=True"),
    ({"steps": True}, "steps is not a whole number: got True; expected 1, 2, 3, ... (steps)"),
    ({"lr": True}, "lr is not a number: got True; expected a number (lr). Try: lr=0.001"),
    (
        {"beta1": False},
        "beta1 is not a number: got False; expected a number (beta1). Try: beta1=0.9",
    ),
    ({"seconds": 0}, "Invalid duration: got 0; expected a number with s, m or h (seconds)"),
    ({"budget": "0m"}, "Invalid duration: got '0m'"),
    ({"pionts": 3}, "Unknown argument 'pionts'. Did you mean 'points'?"),
    ({"sed": 3}, "Unknown argument 'sed'. Did you mean 'seeds'?"),
]


@pytest.mark.parametrize(("how", "text"), FAULTS, ids=[text[:40] for _, text in FAULTS])
def test_a_plan_beyond_its_limits_gets_one_sentence(how: dict, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        planned(**how)
    assert text in str(raised.value)


def test_the_defaults_of_a_plan() -> None:
    plan = planned()
    assert (plan.x.name, plan.y.name, plan.lr, plan.batch_size, plan.steps) == (
        "beta1",
        "beta2",
        Adam().lr,
        1,
        1,
    )
    assert (plan.seeds, plan.boundary_seeds, plan.dense, plan.trainings) == (2, 4, False, None)
    assert (plan.seconds, plan.thresholds, plan.options) == (None, Thresholds(), Options())
    assert plan.engine == "auto"
    assert [planned(engine=name).engine for name in ("stacked", "plain")] == ["stacked", "plain"]


def test_a_dense_plan_may_train_exactly_its_runs_and_a_budget_of_none() -> None:
    assert planned(dense=True, trainings=8).trainings == 8
    assert planned(dense=True, trainings=None).dense
    assert planned(dense=False, trainings=3).trainings == 3


def test_an_axis_is_taken_as_it_is_or_made_between_the_ends() -> None:
    given = axis("lr", 0.01, 1.0, 3)
    assert planned(given, "beta2").x is given
    plan = planned(("lr", 0.01, None), ("beta2", None, 0.9), points=(4, 3))
    assert (plan.x.values[0], plan.x.values[-1], len(plan.x)) == (0.01, 0.1, 4)
    assert (plan.y.values[0], plan.y.values[-1], len(plan.y)) == (0.0, 0.9, 3)
    assert planned(("lr",), "beta2").x.values[0] == 1e-4


def test_a_cell_trains_its_own_values_and_the_plans_others() -> None:
    plan = planned("beta1", "batch_size", lr=0.5, batch_size=7, rule=Adam(beta2=0.98))
    run = plan.run((1, 1), 3)
    assert (run.rule.beta1, run.rule.beta2, run.lr, run.batch_size, run.seed) == (
        0.99,
        0.98,
        0.5,
        256,
        3,
    )
    other = plan.run_with({"lr": 0.25, "eps": 1e-3}, 4)
    assert (other.lr, other.rule.eps, other.batch_size, other.seed) == (0.25, 1e-3, 7, 4)
    assert plan.settings((0, 0)) == {**plan.fixed, "beta1": 0.0, "batch_size": 4}
    assert plan.fixed["beta2"] == 0.98


def test_a_key_names_what_changes_a_run_and_nothing_else() -> None:
    def key(**changes: object) -> str:
        plan = planned(options=Options(**changes))
        return plan.key(plan.run((0, 0), 0))

    usual = Options()
    assert key(points=usual.points + 1) != key()
    assert key(early_stop=not usual.early_stop) != key()
    assert key(independent=not usual.independent) != key()
    plan = planned(steps=5)
    assert plan.key(plan.run((0, 0), 0)) != key()


def test_the_largest_batch_of_an_axis_fits_the_problem() -> None:
    x = torch.ones(8, 1)
    line = Problem(
        "line", lambda: nn.Linear(1, 1), nn.functional.mse_loss, x, x, batch_size=4, steps=10
    )
    assert plan_for(line, ("batch_size", 1, 8), "lr", points=2).x.values == (1, 8)
    with pytest.raises(BadInput):
        plan_for(line, ("batch_size", 1, 9), "lr", points=2)
    with pytest.raises(BadInput):
        plan_for(line, "lr", ("batch_size", 1, 9), points=2)
    with pytest.raises(BadInput):
        plan_for(line, "lr", "beta2", points=2, batch_size=9)


def test_durations() -> None:
    given = ("90s", "20m", "1.5h", "300", " 2m ", 90, 0.5)
    assert [seconds_in(each, "budget", "") for each in given] == [
        90.0,
        1200.0,
        5400.0,
        300.0,
        120.0,
        90.0,
        0.5,
    ]
    for bad in (0, -1, "0s", "-1s", "2 m", "1.m", "m", "", math.inf, math.nan, True, None, [1]):
        with pytest.raises(BadInput, match="Invalid duration"):
            seconds_in(bad, "budget", "")


def test_cells_along_both_axes() -> None:
    assert grid_points(5) == (5, 5)
    assert grid_points((3, 4)) == grid_points([3, 4]) == (3, 4)
    for bad in (True, (3, True), (True, 3), (3, 4.0), (3,), (3, 4, 5), "34", 3.0, None):
        with pytest.raises(BadInput, match="Invalid number of cells"):
            grid_points(bad)


def test_the_forms_of_an_axis() -> None:
    assert axis_range("lr", "x") == axis_range(("lr",), "x") == ("lr", None, None, None)
    assert axis_range(["lr", 0.1, 1], "x") == ("lr", 0.1, 1, None)
    assert axis_range(("lr", None, 0.1), "x") == ("lr", None, 0.1, None)
    for bad in ((), ("lr", 1), ("lr", 1, 2, 3), (1, 2, 3), ("lr", True, 2), ("lr", 1, "2"), 3):
        with pytest.raises(BadInput, match="y is not an axis"):
            axis_range(bad, "y")


def test_whole_numbers_and_resources() -> None:
    assert whole("workers", 0, 2) == 0
    for bad in (True, 1.0, "1", None):
        with pytest.raises(BadInput, match="workers is not a whole number"):
            whole("workers", bad, 2)
    check_resources(None, None)
    check_resources("map.sqlite", 0)
    check_resources(Path("map.sqlite"), 4)
    with pytest.raises(BadInput, match="workers is not a whole number"):
        check_resources(None, True)
    with pytest.raises(BadInput, match="store is of the wrong type"):
        check_resources(4, None)


def test_a_marked_setting_has_known_names_and_numbers() -> None:
    given = {"beta1": 0.5, "lr": 1}
    assert marked_setting(given) == given
    with pytest.raises(BadInput, match="Unknown hyperparameter 'beta_1'"):
        marked_setting({"beta_1": 0.5})
    with pytest.raises(BadInput, match="settings is not a mapping"):
        marked_setting([("beta1", 0.5)])


def test_arguments_that_are_none_are_left_out() -> None:
    names = ["rule", "seeds", "seconds", "lr"]
    assert checked({"seeds": None, "beta1": 0.5}, names) == {"rule": Adam(beta1=0.5)}
    assert checked({"budget": "2m"}, names) == {"rule": Adam(), "seconds": 120.0}
    assert checked({"seconds": 5, "lr": 1}, names) == {"rule": Adam(), "seconds": 5, "lr": 1}

"""Options of a built-in problem as axes of a map."""

from __future__ import annotations

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps import map_phases, plan_for
from betaplane.problems import Trainer, counterexample, digits, load, power, quadratic
from betaplane.problems.family import numeric_options, variant
from betaplane.replicas import Run, train_plain, train_stacked
from betaplane.rules import Adam
from betaplane.theory import critical_beta2


def test_whole_options_stay_whole_and_others_do_not():
    plan = plan_for(counterexample(), ("n", 5, 50), ("a", 0.5, 2), points=(4, 3))
    assert plan.x.values == (5, 11, 23, 50)
    assert all(isinstance(n, int) for n in plan.x.values)
    assert plan.y.values == (0.5, 1.0, 2.0)
    assert plan.settings((1, 2))["n"] == 11
    linear = plan_for(counterexample(), ("n", 5, 50, "linear"), points=(4, 3))
    assert linear.x.values == (5, 20, 35, 50)


def test_a_variant_keeps_what_was_changed():
    changed = counterexample(a=0.5).with_(steps=9, lr=0.1, order="shuffle", name="mine")
    other = variant(changed, {"n": 20})
    assert (other.examples, other.steps, other.lr, other.order) == (20, 9, 0.1, "shuffle")
    assert (other.name, other.best) == ("mine", -3 / 40)
    np.testing.assert_array_equal(other.inputs, counterexample(n=20, a=0.5).inputs)
    assert variant(other, {"n": 10}).inputs.tolist() == changed.inputs.tolist()


def test_the_exact_boundary_is_that_of_the_order_and_the_schedule():
    assert counterexample().with_(schedule="constant").boundary is not None
    assert counterexample().with_(order="shuffle").boundary is None
    assert power().with_(schedule="inverse_sqrt").boundary is None
    assert quadratic().with_(order="replacement", lr=0.1).boundary is None


def test_a_changed_problem_has_no_options():
    assert numeric_options(counterexample().with_(loss=counterexample().loss)) == {}
    assert numeric_options(Trainer("mine", lambda settings, seed: [1.0])) == {}
    assert "batch_size" not in numeric_options(digits())


def test_the_map_of_n_shows_the_exact_boundary():
    """At beta1 = 0, the loss of each column rises below the critical beta2 of its n, and falls
    above it, from an initial loss of 1 / n to -3 / (2 n).
    """
    found = map_phases(
        "counterexample:steps=1500",
        ("n", 5, 20),
        ("beta2", 0.0, 0.9999),
        points=(2, 7),
        beta1=0.0,
        dense=True,
        seeds=1,
        workers=0,
    )
    (exact,) = found.curves
    assert exact.y.tolist() == [critical_beta2(0.0, n, 1.0) for n in found.x.values]
    for (i, j), cell in found.cells.items():
        assert (cell.score > 1) == (found.y.values[j] < exact.y[i])
    assert found.recommendation is None
    assert "n" not in found.fixed


def test_both_engines_train_the_variant():
    problem = counterexample(steps=50)
    runs = [Run(Adam(beta2=beta2), 0.7, 1, 0, (("n", 7),)) for beta2 in (0.5, 0.999)]
    alone = [train_plain(counterexample(n=7, steps=50), Run(r.rule, 0.7, 1, 0)) for r in runs]
    for outcomes in ([train_plain(problem, run) for run in runs], train_stacked(problem, runs)):
        for one, other in zip(alone, outcomes, strict=True):
            np.testing.assert_allclose(one.curve, other.curve, rtol=1e-5)


FAULTS = {
    "typo": (counterexample(), ("nn", 5, 50), "Unknown axis 'nn'. Did you mean 'n'?"),
    "no range": (counterexample(), "n", "The axis n, an option of the problem, has no range"),
    "invalid": (counterexample(), ("n", 2, 50), "n is out of range: got 2; expected [3, inf)"),
    "text": (load("digits"), ("hidden", 0.5, 4), "hidden is out of range: got 0"),
    "log": (quadratic(), ("A", 0, 1), "Invalid range for the A axis: got (0, 1)"),
}


@pytest.mark.parametrize(("problem", "along", "sentence"), FAULTS.values(), ids=FAULTS)
def test_an_option_that_is_no_axis_is_rejected(problem, along, sentence):
    with pytest.raises(BadInput) as raised:
        plan_for(problem, along, points=3)
    assert str(raised.value).startswith(sentence)

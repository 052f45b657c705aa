"""The known curves of a map, and when the exact boundary is one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.maps.grid import Axis
from betaplane.maps.known_curves import curves_of, exact_boundary, known_curves
from betaplane.maps.plan import plan_for
from betaplane.problems import counterexample, power, quadratic, reddi

DECADES = 0.0, 0.9, 0.99, 0.999, 0.9999  # of memory horizon: positions 0, 1, 2, 3, 4


def test_the_known_curves_lie_where_they_say():
    x, y = Axis("beta1", DECADES), Axis("beta2", DECADES)
    root, same, exact = known_curves(x, y, lambda beta1: 0.5 if beta1 < 0.9 else math.nan)
    assert (root.label, same.label, exact.label) == (
        "beta1 = sqrt(beta2)",
        "beta1 = beta2",
        "exact boundary",
    )
    np.testing.assert_allclose(root.x, np.sqrt(root.y))
    np.testing.assert_array_equal(same.x, same.y)
    assert (root.x[0], root.x[-1], len(root.x)) == (0.0, pytest.approx(0.9999), 200)
    assert len(exact.x) == 50
    np.testing.assert_array_equal(np.isfinite(exact.y), exact.x < 0.9)


def test_known_curves_are_drawn_only_where_they_are_known():
    x, y = Axis("beta1", DECADES), Axis("beta2", DECADES)
    assert len(known_curves(x, y, None)) == 2
    assert len(known_curves(x, y, lambda beta1: math.nan)) == 2
    assert known_curves(y, x, None) == ()
    assert known_curves(Axis("lr", (0.1, 1.0)), y, None) == ()
    assert known_curves(x, Axis("lr", (0.1, 1.0)), None) == ()


@pytest.mark.parametrize(
    ("problem", "how", "holds"),
    [
        (power(), {"eps": 0.0}, True),
        (power(), {}, False),  # eps = 1e-8 ends the geometric phase
        (counterexample(), {}, True),
        (counterexample(), {"eps": 0.1}, False),
        (counterexample(a=1e-5), {}, False),  # v is as small as eps^2
        (reddi(), {}, True),
        (quadratic(), {}, True),
        (counterexample(), {"rule": "adamw"}, False),  # decays weights by default
        (counterexample(), {"rule": "adamw", "weight_decay": 0.0}, True),
        (counterexample(), {"rule": "adam:clip=0.5"}, False),
        (counterexample(), {"rule": "adam:eps_root=1.0"}, False),
        (counterexample(), {"rule": "nadam"}, False),
        (counterexample(), {"batch_size": 2}, False),
    ],
)
def test_the_exact_boundary_is_drawn_for_the_training_that_it_describes(problem, how, holds):
    plan = plan_for(problem, points=3, **how)
    assert (exact_boundary(problem, plan) is not None) is holds
    labels = [curve.label for curve in curves_of(problem, plan)]
    assert labels == ["beta1 = sqrt(beta2)", "beta1 = beta2", *["exact boundary"][: int(holds)]]


def test_a_changed_problem_loses_the_boundary_that_no_longer_holds():
    problem = counterexample()
    assert problem.with_(batch_size=2).boundary is None
    assert problem.with_(batch_size=1, steps=9, best=0.0).boundary is not None
    assert problem.with_(inputs=problem.inputs * 2).boundary is None
    own = problem.with_(inputs=problem.inputs, boundary=math.sqrt)
    assert own.boundary is math.sqrt

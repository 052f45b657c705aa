"""Checks compare intervals; a verdict follows from the checks."""

import math

import pytest

from betaplane.claims import AtLeast, AtMost, Below, Measured, Near, Same, judge


def measured(**values):
    return {name: Measured(tuple(v)) for name, v in values.items()}


@pytest.mark.parametrize(
    ("check", "values", "state"),
    [
        (Near("a", 1.0, 0.1), [1.05], "holds"),
        (Near("a", 1.0, 0.1), [1.2], "fails"),
        (AtMost("a", 1.0), [0.5, 0.6, 0.7], "holds"),
        (AtMost("a", 1.0), [0.5, 1.0, 1.5], "undecided"),
        (AtMost("a", 1.0), [2.0, 2.1, 2.2], "fails"),
        (AtLeast("a", 1.0), [2.0, 2.1, 2.2], "holds"),
        (AtLeast("a", 1.0), [math.inf, math.inf], "holds"),
        (AtLeast("a", 1.0), [math.nan], "undecided"),
        (AtLeast("a", 1.0), [math.inf, 2.0], "undecided"),
    ],
)
def test_a_check_compares_the_whole_interval(check, values, state):
    assert check.state(measured(a=values)) == state


def test_below_compares_seed_by_seed():
    results = measured(adam=[1.0, 2.0, 3.0], sgd=[1.5, 2.6, 3.4])
    assert Below("adam", "sgd").state(results) == "holds"  # although the two intervals overlap
    assert Below("sgd", "adam").state(results) == "fails"
    assert Below("adam", "sgd", 0.5).state(results) == "undecided"


def test_runs_that_both_diverged_are_the_same():
    results = measured(a=[math.inf, math.inf], b=[math.inf, math.inf], c=[1.0, 1.0])
    assert Same("a", "b", 0.1).state(results) == "holds"
    assert Below("c", "a").state(results) == "holds"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"a": [0.0], "b": [0.0], "c": [0.0]}, "holds"),
        ({"a": [0.0], "b": [9.0], "c": [0.0]}, "holds when n >= 10"),
        ({"a": [0.0], "b": [9.0], "c": [9.0]}, "does not hold here"),
        ({"a": [9.0], "b": [0.0], "c": [0.0]}, "does not hold here"),
        ({"a": [0.5, 1.0, 1.5], "b": [0.0], "c": [0.0]}, "undecided"),
        ({"a": [0.0], "c": [0.0]}, "holds"),  # b was not measured
        ({}, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_checks(values, text):
    checks = (AtMost("a", 1.0), AtMost("b", 1.0, when="n = 3"), AtMost("c", 1.0, when="n >= 10"))
    assert judge(checks, measured(**values)).text == text

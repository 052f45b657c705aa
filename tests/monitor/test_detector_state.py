"""A changed optimizer state, on worked numbers at and beside each limit."""

from __future__ import annotations

import math

import pytest
from tests.monitor.test_detector_rules import HEALTHY, find, history_of, run

from betaplane.monitor.detectors.state import _v_evidence, v_left
from betaplane.theory import update_bound

BETA2 = 0.5  # exact powers
FIRST = HEALTHY._replace(step=10, t=10.0, beta2=BETA2, root_rms=2.0)
V = 4.0 * (1 - BETA2**10)  # after step 10: without its correction


def later(steps: int, kept: float, **changes):
    """A reading some steps later, before which v was `kept`."""
    count = {"step": 10 + steps, "t": 10.0 + steps, "before": 9.0 + steps}
    return FIRST._replace(**{**count, "kept_rms": math.sqrt(kept), **changes})


def test_v_left_compares_v_with_what_beta2_leaves():
    assert v_left(FIRST, later(1, 0.5 * V)) == pytest.approx(0.5)
    assert v_left(FIRST, later(1, 2 * V)) == pytest.approx(2)
    assert v_left(FIRST, later(3, 0.5 * V / 4)) == pytest.approx(0.5)  # two steps between
    assert v_left(FIRST, later(3, 2 * V / 4)) == 1.0  # which may have raised v
    assert v_left(FIRST, later(3, 0.5 * V / 16, beta2=0.25)) == pytest.approx(0.5)
    assert v_left(FIRST._replace(beta2=0.25), later(3, V / 16)) < 1.01


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"t": 12.0}),
        ({"t": 0.0, "step": 9}, {"t": 2.0}),
        ({}, {"dtype": "bfloat16"}),
        ({}, {"kept_rms": math.nan}),
        ({}, {"kept_rms": math.inf}),
        ({"root_rms": 0.0}, {}),
        ({"root_rms": math.inf}, {}),
    ],
    ids=str,
)
def test_v_left_is_one_if_the_readings_cannot_show_it(old, new):
    assert v_left(FIRST._replace(**old), later(1, 0.5 * V)._replace(**new)) == 1.0


def test_v_left_needs_one_counted_step_before():
    first = FIRST._replace(t=1.0, step=1)
    assert v_left(first, later(1, 0.25 * 2.0, t=2.0, step=2)) == pytest.approx(0.25)
    assert v_left(first._replace(t=0.0), later(1, 0.25, t=1.0, step=2)) == 1.0


def test_evidence_of_a_changed_v_says_since_when_and_in_which_direction():
    fell = _v_evidence(FIRST, later(1, 0.5 * V), 0.5)
    assert "v was 0.5 times what it was at step 10, with every step counted" in fell
    assert "fall no further than to 1" in fell
    rose = _v_evidence(FIRST, later(3, 2 * V), 1.5)
    assert rose == "v was 1.5 times what it was at step 10, 2 steps before, with every step counted"


def test_v_at_exactly_four_fifths_or_five_fourths_is_not_changed():
    old = HEALTHY._replace(beta2=0.2)  # v is 0.8 of its corrected value
    for root, kept in ((1.25, 0.8), (1.0, 1.25)):
        new = old._replace(step=2, t=2.0, before=1.0, kept_rms=1.0)
        first = old._replace(root_rms=root)
        assert v_left(first, new) == kept
        assert find("optimizer state changed", history_of(first, new)) is None


def test_first_gradient_of_zero_shows_no_changed_state():
    old, new = FIRST, later(1, 0.1 * V)
    finding = find("optimizer state changed", history_of(old, new))
    assert (finding.layer, finding.remedy) == ("w", {})
    assert "v was 0.1 times what it was at step 10, with every step counted" in finding.evidence
    assert find("optimizer state changed", history_of(old, new._replace(g_rms=0.0))) is None


def beyond_bound(*changes: dict, times: float = 1.06, **of_last):
    """Six readings, some of them changed; the last update is above Adam's bound."""
    bound = float(update_bound(0.9, 0.999, 6.0))
    readings = run(6, reach=0.9)
    readings[-1] = readings[-1]._replace(update_max=times * bound, **{"reach": 1.2, **of_last})
    for change in changes:
        readings[change["step"] - 1] = readings[change["step"] - 1]._replace(**change)
    return find("optimizer state changed", history_of(*readings))


def test_update_beyond_the_bound_is_measured_by_the_bound():
    assert "the largest update is 1.06 times what any gradients" in beyond_bound().evidence
    assert "is 1.1 times" in beyond_bound(reach=1.1, times=1.3).evidence
    assert beyond_bound(times=1.04) is None


def test_bound_needs_the_betas_of_the_reading_before():
    assert beyond_bound({"step": 3, "beta1": 0.8}, {"step": 4, "beta2": 0.99})
    assert beyond_bound({"step": 4, "beta1": 0.8}, {"step": 3, "beta2": 0.99})
    assert beyond_bound({"step": 5, "beta1": 0.8}) is None
    assert beyond_bound({"step": 5, "beta2": 0.99}) is None


def test_bound_needs_three_readings_that_kept_it_in_a_wide_dtype():
    assert beyond_bound({"step": 2, "reach": 1.0})
    assert beyond_bound({"step": 2, "reach": 1.01}) is None
    assert beyond_bound(dtype="bfloat16") is None
    bound = float(update_bound(0.9, 0.999, 6.0))
    last = run(6, reach=1.2, update_max=1.2 * bound)[-1]
    assert find("optimizer state changed", history_of(*run(5)[2:], last))
    assert find("optimizer state changed", history_of(*run(5)[3:], last)) is None


def test_bound_of_an_unknown_count_is_that_of_the_first_step():
    """Adam's first update is at most 1; this one is 1.06 times the bound of the sixth, 1.016."""
    assert beyond_bound(t=0.0).evidence.startswith("the largest update is 1.08 times")

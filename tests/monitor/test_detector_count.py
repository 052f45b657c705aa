"""A wrong step count, on worked numbers at and beside each limit."""

from __future__ import annotations

import math

import pytest
from tests.monitor.test_detector_rules import HEALTHY, find, history_of
from tests.monitor.test_detector_state import BETA2, FIRST, V, later

from betaplane.monitor.detectors.steps import (
    _count_restarted,
    _expected_count,
    _log_factor,
    _misfit,
    _total_weight,
    _v_emptied,
    _v_kept,
    _v_over_least,
)


def counted(before: float, **changes):
    """A reading of step 11 with a count before it."""
    return later(1, V, before=before, t=before + 1, **changes)


def test_weight_of_v_is_complete_without_memory():
    assert _total_weight(0.5, 3) == pytest.approx(0.875)
    assert _total_weight(0.0, 3) == 1.0


def test_factor_of_a_count_is_that_of_the_corrections():
    early = FIRST._replace(step=2, t=2.0)
    assert _log_factor(early, early._replace(step=3, t=3.0, before=2.0)) == 0.0
    far = early._replace(step=3, t=51.0, before=50.0)
    assert _log_factor(early, far) == 0.0  # 0.75 of the weight: by less than 1.5
    first = early._replace(t=1.0)
    assert _log_factor(first, far) == pytest.approx(math.log(1 / 0.5), rel=1e-6)
    back = far._replace(t=2.0, before=1.0)
    assert _log_factor(first._replace(t=50.0), back) == pytest.approx(math.log(0.5), rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"t": 0.0}, {}),
        ({}, {"before": 0.0}),
        ({}, {"beta2": 0.25}),
        ({}, {"before": 1.0}),
    ],
    ids=str,
)
def test_counts_that_cannot_be_compared_have_no_factor(old, new):
    first = FIRST._replace(step=2, t=1.0, **old) if "t" not in old else FIRST._replace(**old)
    assert _log_factor(first, first._replace(**{"step": 3, "before": 50.0, "t": 51.0, **new})) == 0


def test_v_is_kept_if_it_is_the_old_one_and_the_gradients_since():
    near = math.exp(0.019), math.exp(0.021)
    assert _v_kept(FIRST, counted(500.0)._replace(kept_rms=math.sqrt(V * near[0])))
    assert _v_kept(FIRST, counted(500.0)._replace(kept_rms=math.sqrt(V / near[0])))
    assert not _v_kept(FIRST, counted(500.0)._replace(kept_rms=math.sqrt(V * near[1])))
    assert not _v_kept(FIRST, counted(500.0)._replace(kept_rms=math.sqrt(V / near[1])))
    assert not _v_kept(FIRST._replace(root_rms=0.0), counted(500.0)._replace(kept_rms=0.0))


def test_v_some_steps_later_may_differ_by_two_fifths_of_the_factor():
    """v decays over 3 measured steps to an eighth, and gradients of RMS 1 add seven eighths."""
    first = FIRST._replace(t=1.0)  # v = 4 * 0.5
    expected = 2.0 / 8 + 7 / 8
    wrong = {"before": 500.0, "t": 501.0}
    # a factor below 1.5 allows nothing
    assert not _v_kept(first, later(4, expected, **wrong))
    slow = first._replace(beta2=0.99)
    v, decay = 4.0 * 0.01, 0.99**3
    expected = decay * v + (1 - decay)
    allowed = 0.4 * math.log((1 - 0.99**500) / (1 - 0.99**4))
    for factor in (allowed, -allowed):
        for share, kept in ((0.99, True), (1.01, False)):
            new = later(4, expected * math.exp(share * factor), beta2=0.99, **wrong)
            assert _v_kept(slow, new) == kept


def test_v_measured_after_the_step_alone_includes_its_gradient():
    slow = FIRST._replace(t=1.0, beta2=0.99)
    decay = 0.99**4
    expected = decay * 4.0 * 0.01 + (1 - decay)
    new = later(4, 1.0, beta2=0.99, before=500.0, t=501.0, kept_rms=math.nan)
    weight = 1 - 0.99**501
    allowed = 0.4 * math.log((1 - 0.99**500) / (1 - 0.99**4))
    for share, kept in ((0.99, True), (1.01, False)):
        v = expected * math.exp(share * allowed)
        assert _v_kept(slow, new._replace(root_rms=math.sqrt(v / weight))) == kept


def test_gradients_since_then_add_their_square_to_v():
    """One step more: half of 8 times 1/2 weight and half of 2 squared is 4, with no tolerance."""
    first = FIRST._replace(t=1.0, root_rms=math.sqrt(8.0), beta2=0.5)
    kept = {"before": 500.0, "t": 501.0, "kept_rms": math.nan, "g_rms": 2.0, "beta2": 0.5}
    for v, same in ((4.0, True), (6.0, False), (2.5, False)):
        new = later(1, 1.0, **kept)._replace(root_rms=math.sqrt(v))
        assert _v_kept(first, new) == same


def test_v_that_is_zero_before_or_after_was_not_kept():
    assert not _v_kept(FIRST._replace(root_rms=0.0), counted(500.0)._replace(kept_rms=1.0))
    assert not _v_kept(FIRST, counted(500.0)._replace(kept_rms=0.0))


def test_misfit_is_the_change_of_lag_over_the_factor():
    first = FIRST._replace(step=2, t=1.0, lag=1.0)
    far = first._replace(step=3, t=51.0, before=50.0)
    assert _misfit(first, far._replace(lag=math.sqrt(2))) == pytest.approx(0.5)
    assert _misfit(first, far._replace(lag=0.0)) == _misfit(first._replace(lag=0.0), far) == 0.0
    assert _misfit(first._replace(lag=0.5), far._replace(lag=0.5)) == 0.0


def test_least_v_follows_from_decay_and_correction():
    """From a count of 1 (weight 1/2) in two steps to 3 (weight 7/8): decay 1/4, least 1/8 of v."""
    first = FIRST._replace(step=1, t=1.0, root_rms=1.0)
    third = first._replace(step=3, t=3.0, root_rms=1.0)
    assert _v_over_least(first, third) == pytest.approx(0.875 / (0.25 * 0.5 * (0.5 / 0.875)))
    back = first._replace(step=3, t=1.0)  # with an equal correction
    assert _v_over_least(first, back) == pytest.approx(0.5 / (0.25 * 0.5))
    shorter = third._replace(beta2=0.25)
    assert _v_over_least(first, shorter) == pytest.approx(
        (1 - 1 / 64) / ((1 / 16) * 0.5 * (0.5 / (1 - 1 / 64)))
    )
    assert _v_over_least(first._replace(root_rms=0.0), third) == math.inf


def test_v_is_emptied_below_half_of_what_beta2_leaves():
    assert not _v_emptied(FIRST, later(1, 0.51 * V))
    assert _v_emptied(FIRST, later(1, 0.49 * V))
    assert not _v_emptied(FIRST, later(1, 0.49 * V, t=12.0))
    assert not _v_emptied(FIRST, later(1, 0.49 * V, dtype="bfloat16"))
    unmeasured = later(1, 1.0, kept_rms=math.nan)
    least = 0.5 * V * min(1.0, (1 - BETA2**10) / (1 - BETA2**11)) / (1 - BETA2**11)
    assert _v_emptied(FIRST, unmeasured._replace(root_rms=math.sqrt(0.49 * least)))
    assert not _v_emptied(FIRST, unmeasured._replace(root_rms=math.sqrt(0.51 * least)))


def test_count_restarted_within_a_fifth_of_the_memory():
    """1 - 0.999^k is below 0.2 up to k = 223."""
    old = HEALTHY._replace(step=1000, t=1000.0)

    def restarted(steps: int, t: float, root: float = 10.0, before: float = 1000.0) -> bool:
        new = HEALTHY._replace(step=1000 + steps, t=t, root_rms=root)
        return _count_restarted(old._replace(t=before), new)

    assert restarted(223, 223.0)
    assert not restarted(224, 224.0)
    assert restarted(10, 1.0, root=100.0)
    assert not restarted(10, 0.0, root=100.0)
    assert restarted(10, 10.0, root=100.0)
    assert not restarted(10, 11.0, root=100.0)
    assert not restarted(10, 5.0, root=100.0, before=5.0)
    assert restarted(10, 5.0, root=100.0, before=6.0)


def test_restarted_count_needs_v_of_98_percent_of_the_least():
    old = HEALTHY._replace(step=1000, t=1000.0)
    new = HEALTHY._replace(step=1010, t=10.0)
    scale = math.sqrt(1 / _v_over_least(old, new))
    assert _count_restarted(old, new._replace(root_rms=scale * math.sqrt(0.985)))
    assert not _count_restarted(old, new._replace(root_rms=scale * math.sqrt(0.975)))
    assert not _count_restarted(old._replace(root_rms=0.0), new)


def test_count_is_expected_from_the_last_reading_before():
    old, new = FIRST, later(3, V)
    assert _expected_count(history_of(old, new), new) == 12  # before step 13
    assert _expected_count(history_of(old._replace(t=100.0), new), new) == 102
    assert _expected_count(history_of(new), new._replace(beta2=0.98)) == 50


def jumped(count: float, lag: float, layer: str = "w"):
    """A count of 2 that becomes `count` although v = 4 * 0.75 is kept."""
    old = FIRST._replace(step=2, t=1.0, lag=1.0, layer=layer)
    kept = {"kept_rms": math.sqrt(2.0), "lag": lag, "warm": True}
    return old, old._replace(step=3, before=count, t=count + 1, **kept)


def test_count_that_jumps_with_v_kept_is_wrong():
    """v_hat is v / 0.5 at a count of 1, and v at a large one: too small by a factor 2."""
    finding = find("step count wrong", history_of(*jumped(50.0, math.sqrt(2))))
    assert (finding.layer, finding.remedy) == ("", {"step": 1})
    assert (
        "the count is 50 after 1 steps and 0 more, and v was kept: "
        "v_hat is too small by a factor 2" in finding.evidence
    )
    log_lag = 0.25 * math.log(2)
    assert find("step count wrong", history_of(*jumped(50.0, math.exp(1.01 * log_lag))))
    assert find("step count wrong", history_of(*jumped(50.0, math.exp(0.99 * log_lag)))) is None


def test_count_that_falls_makes_v_hat_too_large():
    old, new = jumped(1.0, math.sqrt(0.5))
    old = old._replace(t=50.0, root_rms=2.0)
    new = new._replace(kept_rms=2.0, step=3, t=2.0)
    finding = find("step count wrong", history_of(old, new))
    assert finding.remedy == {"step": 50}
    assert "v_hat is too large by a factor 2" in finding.evidence


def test_count_of_one_tensor_is_reported_with_its_name():
    calm = HEALTHY._replace(layer="b", step=2, t=2.0, before=1.0)
    after = calm._replace(step=3, t=3.0, before=2.0, warm=True)
    old, new = jumped(50.0, math.sqrt(2))
    assert find("step count wrong", history_of(calm, old, after, new)).layer == "w"


def test_count_restarted_is_reported_with_both_counts():
    old = HEALTHY._replace(step=1000, t=1000.0, before=999.0)
    new = old._replace(step=1010, t=10.0, before=9.0, root_rms=10.0)
    finding = find("step count wrong", history_of(old, new))
    assert (finding.layer, finding.remedy) == ("w", {"step": 1009})
    assert "the count fell from 1000 to 10 while v was kept" in finding.evidence


def test_emptied_v_of_every_tensor_restarts_the_count():
    old, new = FIRST, later(1, 0.1 * V)
    finding = find("step count wrong", history_of(old, new))
    assert (finding.layer, finding.remedy) == ("", {"step": 0})
    assert "continued to 11: nothing corrects it" in finding.evidence
    calm = [each._replace(layer="b", kept_rms=math.sqrt(V)) for each in (old, new)]
    assert find("step count wrong", history_of(old, calm[0], new, calm[1])) is None


def test_zero_gradient_says_nothing_about_the_count():
    silent = later(1, 0.1 * V, g_rms=0.0)
    assert find("step count wrong", history_of(FIRST, silent)) is None


def test_count_of_zero_is_right_and_above_it_not_with_v_zero():
    cold = HEALTHY._replace(warm=False, before=0.0)
    assert find("step count wrong", history_of(cold)) is None
    assert find("step count wrong", history_of(cold._replace(before=1.0, t=2.0)))
    warm = HEALTHY._replace(warm=True, before=0.0)
    assert find("step count wrong", history_of(warm)).layer == "w"

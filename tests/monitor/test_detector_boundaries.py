"""What the detectors compare, on worked numbers at and beside each limit."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tests.monitor.test_detector_rules import HEALTHY, find, history_of, losses, run

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.detectors._statistics import Jump, deviations, jump, root_variation
from betaplane.monitor.detectors.gradients import _earlier_median
from betaplane.monitor.detectors.rate import _update_over_weights
from betaplane.monitor.detectors.second_moment import _lags
from betaplane.monitor.detectors.state import _v_evidence, v_left
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
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.reading_history import TouchedRows
from betaplane.monitor.recorders.ring_buffer import RecordedSteps
from betaplane.theory import update_bound

NO_JUMP = Jump(0.0, 0.0)


def last_of(*values: float, min_values: int = 2) -> Jump:
    """The jump of the last of some values."""
    return jump([*enumerate(values)], len(values) - 1, min_values)


def test_jump_is_over_the_largest_and_in_deviations_of_at_least_a_scatter_of_two_fifths():
    assert last_of(1.0, 1.0, 2.0) == Jump(2.0, pytest.approx(math.log(2) / 0.4))
    wide = [math.e, 1 / math.e]  # their logarithms, 1 and -1, have a standard deviation of sqrt(2)
    assert last_of(*wide, math.e**2) == Jump(pytest.approx(math.e), pytest.approx(math.sqrt(2)))


def test_sixteen_values_measure_their_own_scatter():
    close = [1.01, 1 / 1.01] * 8
    assert last_of(*close, 2.0).deviations == pytest.approx(
        math.log(2) / (math.log(1.01) * math.sqrt(16 / 15))
    )
    assert last_of(*close[:15], 2.0).deviations == pytest.approx(1.73, abs=0.01)


def test_jump_needs_the_last_step_and_enough_values_that_are_positive_and_finite():
    series = [(1, 0.5), (2, 0.5), (3, 0.75)]
    assert jump(series, 3, 2).ratio == 1.5
    assert jump(series, 2, 2) == jump(series, 4, 2) == NO_JUMP
    assert jump(series, 3, 3) == NO_JUMP
    assert jump([], 0) == NO_JUMP
    assert last_of(0.0, math.inf, math.nan, -1.0, 0.5, 0.5, 0.75) == last_of(0.5, 0.5, 0.75)
    for value in (0.0, -1.0, math.inf, math.nan):
        assert last_of(1.0, 1.0, value) == NO_JUMP


def test_deviations_divide_by_one_less_than_the_number_of_values():
    """Logarithms 0 and 2 log 2: mean log 2, standard deviation sqrt(2) log 2."""
    assert deviations(8.0, [1.0, 4.0]) == pytest.approx(math.sqrt(2))
    assert deviations(2.0, [1.0, 4.0]) == 0.0


def test_root_variation_is_that_of_the_calmer_half():
    g = torch.ones(64, 4)
    g[:32:4] = 8.0
    past = RecordedSteps(g, torch.zeros(4), torch.ones(4), 100.0, StepValues(1e-3, 0.0, 0.5, 1e-8))
    assert root_variation(past) < 0.3
    g[32::4] = 8.0
    assert root_variation(past) > 0.3


def test_noise_is_judged_from_two_memories_of_v():
    """64 steps are two memories of beta2 = 1 - 1 / 32; a spike in each half makes sqrt(v) jump."""
    g = torch.full((64, 4), -1.0)
    g[16], g[48] = 100.0, 1e4

    def found(beta2: float):
        values = StepValues(1e-3, 0.0, beta2, 1e-8)
        past = RecordedSteps(g, torch.zeros(4), torch.ones(4), 100.0, values)
        history = history_of(*run(20), step=64)
        history.recordings["w"] = SimpleNamespace(last_step=64, full=True, recorded=lambda: past)
        return find("second moment too noisy", history)

    assert found(1 - 1 / 32).remedy == {"beta2": 0.996875}  # ten times the memory
    assert found(1 - 1 / 31).remedy == {"beta2": 0.996774}
    assert found(1 - 1 / 33) is None


# the learning rate


def raised(before: float, after: float, lr: float = 1e-2):
    """Losses before and after lr is raised from 1e-3; an update of half the weights afterwards."""
    steps = run(
        40,
        lr=lambda step: 1e-3 if step < 38 else lr,
        ratio=lambda step: 0.001 if step < 38 else 0.5,
    )
    series = [100.0] + [before] * 20 + [after] * 19
    return find("learning rate too large", losses(history_of(*steps), series))


def test_loss_after_a_raised_lr_is_compared_with_a_positive_one():
    assert raised(0.125, 0.19)
    assert raised(0.125, 0.185) is None
    assert raised(2.0, 3.0) is None  # 1.5 times is not above
    assert raised(0.0, 3.0) is None
    assert raised(-2.0, 3.0) is None


@pytest.mark.parametrize(
    ("lr", "old_weights", "ratio"),
    [
        (2e-3, 0.5, 0.1),  # twice the rate is not raised
        (2.5e-3, 0.5, 0.4),  # of the smaller weights before
        (2.5e-3, 2.0, 0.1),
        (2.5e-3, 3.0, 0.1),  # they shrank
        (2.5e-3, 0.0, 0.1),
        (1e-4, 0.5, 0.1),
    ],
)
def test_update_is_over_earlier_weights_if_they_grew_with_a_raised_lr(lr, old_weights, ratio):
    old = HEALTHY._replace(lr=1e-3, weight_rms=old_weights)
    assert _update_over_weights(
        old, HEALTHY._replace(lr=lr, weight_rms=2.0, ratio=0.1)
    ) == pytest.approx(ratio)


# a changed state

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


# the count


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


# data


def changed(norms: list[float], values: list[float], **of_readings):
    """Losses and gradient norms up to step 21, the last of each far above the others."""
    history = losses(history_of(*run(21, **of_readings)), values)
    history.readings.gradient_norms.extend(enumerate(norms, 22 - len(norms)))
    return find("sudden data change", history)


CALM = [1.0, 1.01] * 10


def test_eight_readings_before_a_data_change_must_be_calm():
    for step, fires in ((12, True), (13, False), (20, False), (21, True)):
        at = lambda now, step=step: 0.5 if now == step else 0.001  # noqa: E731
        assert bool(changed([*CALM, 9.0], [*CALM, 9.0], ratio=at)) == fires
    for step, fires in ((13, True), (14, False), (21, False)):
        raised_at = lambda now, step=step: 1e-3 if now < step else 3e-3  # noqa: E731
        assert bool(changed([*CALM, 9.0], [*CALM, 9.0], lr=raised_at)) == fires


def test_data_change_needs_three_earlier_norms():
    assert changed([1.0, 1.0, 1.0, 9.0], [*CALM, 9.0])
    assert changed([1.0, 1.0, 9.0], [*CALM, 9.0]) is None


def test_both_jumps_are_nine_deviations_together():
    """A norm of 4 after ones is 3.47 deviations of at least 0.4; the loss is fivefold."""
    for scatter, fires in ((0.335, True), (0.35, False)):
        usual = [math.exp(scatter), math.exp(-scatter)] * 10
        assert bool(changed([1.0, 1.0, 1.0, 4.0], [*usual, 5 * usual[0]])) == fires


def test_norm_to_clip_to_is_the_lower_median_of_the_earlier_ones():
    assert changed([*CALM, 9.0], [*CALM, 9.0]).remedy == {"skip": 21, "max_norm": 1.0}
    assert _earlier_median([(1, 5.0), (2, 1.0), (3, 3.0), (4, 9.0)]) == 3.0
    assert _earlier_median([(1, 5.0), (2, 1.0), (3, 9.0)]) == 1.0


# rows


def test_rows_restart_with_a_third_of_the_last_rate():
    rows = TouchedRows(torch.zeros(10, dtype=torch.bool))
    for look in range(120):
        rows.add((torch.arange(10) > 4) | torch.tensor(look < 60))
    history = history_of(*run(20, shape=(10, 4), lr=lambda step: 3e-4 * step))
    history.readings.rows["w"] = rows
    assert find("dead rows", history).remedy["lr"] == pytest.approx(2e-3)


# the second moment


def test_lag_at_two_readings_or_a_record_at_one():
    threshold = 4.0  # so that two readings need 2.0, and one needs 1.6
    many = [1.0, 1.1] * 16
    assert _lags([1.0, 2.01, 2.01], threshold, one_is_enough=False)
    assert not _lags([1.0, 2.01, 1.99], threshold, one_is_enough=False)
    assert not _lags([1.0, 1.99, 2.01], threshold, one_is_enough=True)
    assert not _lags([9.0, 9.0], threshold, one_is_enough=True)
    assert _lags([*many, 1.61], threshold, one_is_enough=True)
    assert not _lags([*many, 1.61], threshold, one_is_enough=False)
    assert not _lags([*many, 1.59], threshold, one_is_enough=True)
    assert not _lags([*many[1:], 1.61], threshold, one_is_enough=True)
    assert not _lags([1.7, *many[1:], 1.69], threshold, one_is_enough=True)
    assert not _lags([1.7, *many[1:], 1.7], threshold, one_is_enough=True)
    assert not _lags([0.0, *many, 1.7], threshold, one_is_enough=True)  # a scatter of many decades


def test_record_lag_is_three_deviations_above_the_others():
    """Logarithms of 0.2 and 0 in turn: mean 0.1, standard deviation 0.1 sqrt(32 / 31)."""
    earlier = [math.exp(0.2), 1.0] * 16
    for share, fires in ((1.01, True), (0.99, False)):
        last = math.exp(0.1 + share * 3 * 0.1 * math.sqrt(32 / 31))
        assert _lags([*earlier, last], 2.0, one_is_enough=True) == fires


def test_half_of_the_tensors_is_not_most_of_them():
    def found(grown: int, all_of: int):
        readings = []
        for i in range(all_of):
            late = 2.3 if i < grown else 1.0
            readings += run(
                20,
                layer=str(i),
                lag=lambda step, late=late: late if step > 18 else 1.0,
                update_rms=lambda step, late=late: 0.6 if step == 20 and late > 1 else 0.25,
            )
        return find("stale second moment", history_of(*readings))

    assert found(1, 2) is None
    assert found(2, 3).layer in "01"
    assert found(1, 1).layer == "0"


def test_lags_at_readings_outside_the_schedule_do_not_count():
    lags = lambda step: 2.3 if step > 18 else 1.0  # noqa: E731
    updates = lambda step: 0.6 if step == 20 else 0.25  # noqa: E731
    history = history_of(*run(20, lag=lags, update_rms=updates))
    assert find("stale second moment", history)
    history.readings.off_schedule.append(20)
    assert find("stale second moment", history) is None


def test_eps_of_the_tensor_with_most_elements_below_it_is_reported():
    readings = [
        HEALTHY._replace(layer=name, t=2.0, below_eps=share, root_median=1e-9)
        for name, share in (("a", 0.6), ("b", 0.9), ("c", 0.7))
    ]
    assert find("eps dominates", history_of(*readings)).layer == "b"


def test_proposed_beta2_has_six_digits():
    """beta1 = 1 - 1 / 15 has a memory of 15 steps; 1 - 1 / 30 is 0.9666..."""
    lagging = run(20, lag=5.0, update_rms=0.9, beta1=1 - 1 / 15)
    assert find("stale second moment", history_of(*lagging)).remedy == {"beta2": 0.966667}


# the diagnosis


def test_updates_follow_adam_within_a_quarter():
    for adams, follows in ((0.8, False), (0.801, True), (1.249, True), (1.25, False)):
        diagnosis = Diagnosis(history_of(HEALTHY._replace(adams=adams)), lambda alert: None)
        assert diagnosis._follows_adam("w") == follows
    assert Diagnosis(history_of(), lambda alert: None)._follows_adam("w")

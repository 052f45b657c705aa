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
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.reading_history import TouchedRows
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

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


# a short warmup


def rushed(losses_of: list[float], **changes):
    return find(
        "warmup too short",
        losses(history_of(*run(len(losses_of), **{"ratio": 0.2, **changes})), losses_of),
    )


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_losses_of_any_scale_are_compared_with_the_first(scale):
    def found(*parts: tuple[float, int]):
        return rushed([scale * level for level, count in parts for _ in range(count)])

    climbed = found((1.0, 6), (1.055, 6))
    assert (
        climbed.evidence
        == f"loss {1.055 * scale:.3g}, 1.1 x its start, at full lr from the first step"
    )
    assert found((1.0, 6), (1.045, 6)) is None
    assert found((1.0, 6), (0.702, 5), (1.055, 6))
    assert found((1.0, 6), (0.698, 5), (1.055, 6)) is None
    assert found((1.0, 32))
    assert found((1.0, 8), (0.81, 24)) is None


def test_warmup_is_blamed_for_updates_between_a_tenth_and_six_tenths_of_the_weights():
    climb = [1.0] * 6 + [1.055] * 6
    for ratio, fires in ((0.099, False), (0.101, True), (0.599, True), (0.601, False)):
        assert bool(rushed(climb, ratio=ratio)) == fires
    assert rushed(climb, ratio=0.2, shape=(16,)) is None  # of matrices alone
    once = lambda step: 0.2 if step == 3 else 0.01  # noqa: E731
    assert rushed(climb, ratio=once)


def test_warmup_of_two_memories_of_v_is_long_enough():
    """2 / (1 - 0.75) is 8 steps."""
    climb = [1.0] * 2 + [1.2] * 5
    assert rushed(climb, beta2=0.75).remedy == {"warmup": 8}
    assert rushed([*climb, 1.2], beta2=0.75) is None


def test_rate_of_99_percent_of_the_largest_is_full():
    climb = [1.0] * 6 + [1.055] * 6
    for first, fires in ((0.991, True), (0.989, False)):
        assert (
            bool(rushed(climb, lr=lambda step, first=first: first if step == 1 else 1.0)) == fires
        )


def test_loss_that_is_not_finite_needs_no_warmup():
    assert rushed([1.0] * 6 + [math.inf] * 6) is None


def test_the_rate_of_a_tensor_is_compared_with_its_own():
    """Another tensor with ten times the rate, or a rate that falls later, is no warmup."""
    climb = [1.0] * 6 + [1.055] * 6
    slow = run(12, ratio=0.2, lr=1e-3)
    fast = run(12, ratio=0.2, lr=1e-2, layer="b")
    for readings in ([*slow, *fast], [*fast, *slow]):
        history = history_of(*sorted(readings, key=lambda reading: reading.step))
        assert find("warmup too short", losses(history, climb))
    assert rushed(climb, lr=lambda step: 1.0 if step < 6 else 0.5)
    assert rushed(climb, lr=lambda step: 0.5 if step < 6 else 1.0) is None


def test_a_loss_that_stays_or_falls_slowly_is_stuck_after_32_steps():
    """Above 0.8 of the first loss, and not falling by more than its noise."""
    flat = [1.0] * 40
    assert rushed(flat)
    assert rushed(flat[:31]) is None
    assert rushed([1.0] * 16 + [0.79] * 24) is None
    assert rushed([2.0, *[1.5] * 39]) is None  # 0.75 of the first, and level since

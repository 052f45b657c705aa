"""Each detector on handmade readings: it fires on one side of its threshold only."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from betaplane.monitor.alert import Alert
from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.detectors import ALL
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.history import GradientCorrelation, History
from betaplane.monitor.quantities.reading import Reading
from betaplane.monitor.reading_history import TouchedRows
from betaplane.monitor.recorders.ring_buffer import RecordedSteps
from betaplane.theory import update_bound

DETECTORS = {detector.cause: detector for detector in ALL}
HEALTHY = Reading(
    layer="w", step=1, t=1.0, before=0.0, shape=(8, 16), dtype="float32", lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
    finite=True, g_rms=1.0, g_max=3.0, m_rms=0.3, root_rms=1.0, root_median=1.0, update_rms=0.25, update_max=1.0,
    weight_rms=1.0, weight_max=3.0, ratio=0.00025, angle=0.0, lag=1.0, reach=0.3, below_eps=0.0, lost=0.0, still=0.0,
    warm=True, snr=0.1, agreement=0.6, adams=1.0, shrink=0.0,
)  # fmt: skip


def history_of(*readings: Reading, step: int | None = None) -> History:
    history = History()
    for reading in readings:
        history.readings.add(reading)
    history.step = max((reading.step for reading in readings), default=0) if step is None else step
    return history


def run(steps: int, every: int = 1, **changes: Any) -> list[Reading]:
    """Healthy readings of a run; each change is a value, or a function of the step."""

    def reading(step: int) -> Reading:
        finding = {
            name: change(step) if callable(change) else change for name, change in changes.items()
        }
        return HEALTHY._replace(
            **{"step": step, "t": float(step), "before": step - 1.0, "warm": step > 1, **finding}
        )

    return [reading(step) for step in range(1, steps + 1, every)]


def find(cause: str, history: History):
    detector = DETECTORS[cause]
    return detector.find(history, detector.threshold)


def losses(history: History, values: list[float], last: int | None = None) -> History:
    """Add the losses of the steps up to `last`, by default the current step."""
    last = history.step if last is None else last
    for step, loss in enumerate(values, last - len(values) + 1):
        history.record_loss(loss, step)
        history.waiting_losses = 0
    return history


def test_healthy_run_raises_no_alert():
    history = losses(history_of(*run(64)), [2.0 - 0.01 * k for k in range(64)])
    assert [detector.cause for detector in ALL if find(detector.cause, history)] == []


# NaN and infinity


def test_one_non_finite_tensor_is_enough():
    assert find("non-finite gradients", history_of(HEALTHY)) is None
    finding = find(
        "non-finite gradients", history_of(HEALTHY, HEALTHY._replace(layer="bias", finite=False))
    )
    assert (finding.layer, finding.remedy) == ("bias", {"nonfinite": "skip"})


# data


def changed(norm: float, loss: float, before: int = 20, **of_last: Any):
    """A jump of gradient norm and loss after steps that vary between 1 / 1.05 and 1.05."""
    history = history_of(
        *run(
            before + 1, **{name: (lambda _, value=value: value) for name, value in of_last.items()}
        )
    )
    usual = [1.05 ** (1 - 2 * (k % 2)) for k in range(before)]
    history.readings.gradient_norms.extend(
        (step, value) for step, value in enumerate([*usual, 1.05 * norm], 1)
    )
    return find("sudden data change", losses(history, [*usual, 1.05 * loss]))


@pytest.mark.parametrize(
    ("norm", "loss", "fires"),
    [
        (3.02, 3.02, True),
        (2.98, 2.98, False),
        (2.01, 5.0, True),
        (1.99, 9.0, False),
        (9.0, 1.99, False),
        (30.0, 1.0, False),
    ],
)
def test_data_change_needs_a_threefold_jump_each_at_least_twofold(norm, loss, fires):
    finding = changed(norm, loss)
    assert bool(finding) == fires
    if finding:
        assert (finding.layer, finding.remedy) == (
            "",
            {"skip": 21, "max_norm": pytest.approx(1.05, rel=0.1)},
        )
        assert f"gradient norm {norm:.1f} x and loss {loss:.1f} x their largest" in finding.evidence


def test_data_change_is_excluded_after_large_updates_or_a_raised_lr():
    assert changed(9, 9)
    assert changed(9, 9, ratio=0.299)
    assert changed(9, 9, ratio=0.301) is None
    assert changed(9, 9, ratio=0.301, shape=(16,))  # of matrices alone
    assert changed(9, 9, update_rms=1.0)
    raised = run(21, lr=lambda step: 1e-3 if step < 19 else 2.01e-3)
    history = losses(history_of(*raised), [1.0, 1.01] * 10 + [9.0])
    history.readings.gradient_norms.extend(history.losses)
    assert find("sudden data change", history) is None


def test_data_change_is_excluded_after_an_unusual_update():
    """The last update may be 1.05 if the median is 0.25; 1.5 times the median if that is larger."""
    for last, usual, fires in (
        (1.045, 0.25, True),
        (1.055, 0.25, False),
        (1.57, 1.0, True),
        (1.58, 1.0, False),
    ):
        steps = run(
            21, update_rms=lambda step, last=last, usual=usual: last if step == 20 else usual
        )
        history = losses(history_of(*steps), [1.0, 1.01] * 10 + [9.0])
        for reading in run(21, layer="calm"):
            history.readings.add(reading)
        history.readings.gradient_norms.extend(history.losses)
        assert bool(find("sudden data change", history)) == fires


def test_data_change_must_exceed_the_scatter():
    """Three deviations of each and nine of both: 3.2-fold is 1.1 deviations of losses that scatter
    by e.
    """
    history = history_of(*run(21))
    noisy = [math.e ** (1 - 2 * (k % 2)) for k in range(20)]
    history.readings.gradient_norms.extend(enumerate([*noisy, math.e * 3.2], 1))
    assert find("sudden data change", losses(history, [*noisy, math.e * 3.2])) is None
    calm = [1.01 ** (1 - 2 * (k % 2)) for k in range(20)]
    history = history_of(*run(21))
    history.readings.gradient_norms.extend(enumerate([*calm, 9.0], 1))
    # 2.3 deviations of the loss
    assert find("sudden data change", losses(history, [*noisy, math.e * 4])) is None


# the learning rate


def too_large(ratio: float, late: float, first: float = 1.0, **changes: Any):
    return find(
        "learning rate too large",
        losses(history_of(*run(20, ratio=ratio, **changes)), [first] + [late] * 19),
    )


@pytest.mark.parametrize(
    ("ratio", "late", "fires"),
    [(0.301, 1.51, True), (0.299, 1.6, False), (0.31, 1.49, False), (0.3, 1.6, True)],
)
def test_lr_is_too_large_if_updates_match_weights_and_the_loss_rises(ratio, late, fires):
    finding = too_large(ratio, late)
    assert bool(finding) == fires
    if finding:
        lr = float(f"{1e-3 * 0.01 / ratio:.1g}")
        assert (finding.layer, finding.remedy) == ("w", {"lr": pytest.approx(lr)})
        assert (
            f"an update of {ratio:.2f} of the weights; loss {late:.3g}, at the start 1"
            in finding.evidence
        )


def test_large_updates_of_vectors_are_allowed():
    assert too_large(5.0, 2.0, shape=(16,)) is None


def test_tensor_that_starts_at_zero_is_judged_by_its_last_update():
    history = losses(
        history_of(*run(20, ratio=lambda step: 9.0 if step < 20 else 0.1)), [1.0] + [2.0] * 19
    )
    assert find("learning rate too large", history)
    history.readings.zero_at_start.add("w")
    assert find("learning rate too large", history) is None


def test_raised_lr_is_compared_with_the_loss_and_weights_before():
    """Weights grew tenfold with a rate raised tenfold: an update of 0.05 of them is 0.5 of those
    before.
    """
    steps = run(
        40,
        lr=lambda step: 1e-3 if step < 38 else 1e-2,
        weight_rms=lambda step: 1.0 if step < 38 else 10.0,
        ratio=lambda step: 0.001 if step < 38 else 0.05,
    )
    history = losses(history_of(*steps), [10.0] + [1.0] * 20 + [1.6] * 19)
    finding = find("learning rate too large", history)
    assert "an update of 0.50 of the weights; loss 1.6, before lr was raised 1" in finding.evidence
    calm = losses(history_of(*steps), [10.0] + [1.0] * 20 + [1.4] * 19)
    assert find("learning rate too large", calm) is None
    steady = losses(history_of(*run(40, ratio=0.5)), [10.0] + [1.0] * 20 + [1.6] * 19)
    assert find("learning rate too large", steady) is None


def test_weights_that_grow_at_constant_lr_are_compared_as_they_are():
    grows = lambda step: 1.0 if step < 20 else 10.0  # noqa: E731
    assert too_large(0.05, 2.0, weight_rms=grows) is None
    shrinks = lambda step: 10.0 if step < 20 else 1.0  # noqa: E731
    lr = lambda step: 1e-3 if step < 20 else 1e-2  # noqa: E731
    assert (
        "an update of 0.40 of the weights"
        in too_large(0.4, 2.0, weight_rms=shrinks, lr=lr).evidence
    )


def edge(
    correlation: float = -0.9,
    grown: float = 2.0,
    swings: int = 12,
    last: int = 20,
    gap: int = 0,
    **changes: Any,
):
    history = history_of(*run(20, **changes))
    steps = [last - k - (gap if k == swings - 1 else 0) for k in reversed(range(swings))]
    norms = np.linspace(1.0, grown, swings)
    history.correlations.extend(
        GradientCorrelation(step, correlation, float(norm))
        for step, norm in zip(steps, norms, strict=True)
    )
    return find("adaptive edge of stability", history)


def test_twelve_growing_oscillations_are_the_edge():
    finding = edge()
    assert (finding.layer, finding.remedy) == ("", {"lr": 5e-4})
    assert f"curvature above {(2 + 2 * 0.9) / (0.1 * 1e-3):.3g}" in finding.evidence
    assert "grew 2.0 x in 12 steps" in finding.evidence
    assert edge(correlation=-0.501)
    assert edge(correlation=-0.499) is None
    assert edge(grown=1.505)
    assert edge(grown=1.495) is None
    assert edge(grown=1e13) is None
    assert edge(swings=11) is None
    assert edge(last=19) is None
    assert edge(gap=1) is None


def test_edge_remedy_raises_a_small_beta1_first():
    finding = edge(beta1=0.5)
    assert (finding.layer, finding.remedy) == ("", {"beta1": 0.9})
    assert f"{(3.8 / 0.1) / (3 / 0.5):.3g} x the curvature" in finding.change
    assert edge(beta1=0.5, beta2=0.8).remedy == {"lr": 5e-4}  # beta1 = 0.9 needs beta2 > 0.81
    assert edge(beta1=0.5, beta2=0.82).remedy == {"beta1": 0.9}


# rows


def dead(
    silent: int,
    rows: int = 10,
    looks: int = 120,
    height: int | None = None,
    seen: int = 60,
    other: int = 120,
):
    """The first rows had a gradient in the first `seen` readings, the others up to `other`."""
    held = TouchedRows(torch.zeros(rows, dtype=torch.bool))
    for look in range(looks):
        touched = torch.full((rows,), look < other)
        touched[:silent] = look < seen
        held.add(touched)
    history = history_of(*run(20, shape=(height or rows, 4)))
    history.readings.rows["w"] = held
    return find("dead rows", history)


def test_rows_are_dead_if_two_fifths_are_silent_for_fifty_readings():
    finding = dead(5)
    assert finding.layer == "w"
    assert finding.remedy == {"reinitialise": [0, 1, 2, 3, 4], "lr": pytest.approx(1e-3 / 3)}
    assert "5 of 10 rows" in finding.evidence
    assert dead(7, rows=18) is None
    assert dead(201, rows=500)
    assert dead(199, rows=500) is None
    assert dead(10) is None
    assert dead(5, seen=70)
    assert dead(5, seen=71) is None
    assert dead(5, looks=49, seen=0, other=49) is None
    assert dead(5, looks=50, seen=0, other=50)
    assert dead(5, seen=0)  # never touched at all


def test_dead_rows_of_a_tall_matrix_are_sampled():
    assert dead(5, height=30).remedy["reinitialise"] == [0, 3, 6, 9, 12]
    assert dead(5, height=31).remedy["reinitialise"] == [0, 4, 8, 12, 16]


def test_rows_that_come_and_go_are_not_dead():
    held = TouchedRows(torch.zeros(10, dtype=torch.bool))
    for look in range(200):
        held.add(torch.arange(10) == look % 10 if look < 100 else torch.arange(10) > 4)
    history = history_of(*run(20, shape=(10, 4)))
    history.readings.rows["w"] = held
    assert find("dead rows", history) is None


# the second moment


def stale(lag: float, size: float, **changes: Any):
    return find("stale second moment", history_of(*run(20, lag=lag, update_rms=size, **changes)))


def test_lasting_lag_with_large_updates_is_stale():
    finding = stale(4.52, 0.804)
    assert finding.remedy == {"beta2": 0.95}
    assert "update RMS 0.80 lr, RMS_t 4.5" in finding.evidence
    assert stale(4.48, 0.81) is None
    assert stale(4.6, 0.796) is None
    assert stale(4.6, 0.81, ratio=0.299)
    assert stale(4.6, 0.81, ratio=0.301) is None
    assert stale(4.6, 2.0, ratio=0.598)  # an update of RMS 1 would be 0.299 of the weights
    assert stale(4.6, 0.81, lr=lambda step: 1e-3 if step < 19 else 2.01e-3) is None


def test_proposed_memory_is_twice_that_of_m():
    assert stale(4.6, 0.9, beta1=0.99, beta2=0.9999).remedy == {"beta2": 0.995}
    assert stale(4.6, 0.9, beta1=0.0).remedy == {"beta2": 0.9}
    assert stale(4.6, 0.9, beta1=0.9, beta2=0.93).remedy == {"beta2": 0.93}


def test_one_batch_does_not_make_v_stale():
    assert stale(lambda step: 9.0 if step == 20 else 1.0, 0.81) is None
    assert stale(lambda step: 9.0 if step in (18, 20) else 1.0, 0.81)  # the median of three
    assert stale(lambda step: 9.0 if step in (16, 20) else 1.0, 0.81) is None


def test_small_tensors_are_averaged_over_more_readings():
    late = lambda step: 0.9 if step > 17 else 0.5  # noqa: E731
    assert stale(4.6, late, shape=(8, 8))
    assert stale(4.6, late, shape=(7, 9)) is None


def grown(
    lags: list[float],
    last: float = 0.6,
    usual: float = 0.25,
    layers: int = 1,
    steps: int = 20,
    **changes: Any,
):
    """Updates above their usual size at the last reading of some of three tensors."""
    readings = []
    for i in range(3):
        mine = lags if i < layers else [1.0]
        kept = run(
            steps,
            layer=str(i),
            lag=lambda step, mine=mine: mine[step - 1 - steps] if step > steps - len(mine) else 1.0,
            update_rms=lambda step, i=i: last if step == steps and i < layers else usual,
            **changes,
        )
        readings += kept
    return history_of(*readings)


def test_lag_of_most_tensors_at_two_readings_is_stale():
    cause = "stale second moment"
    finding = find(cause, grown([2.26, 2.26], layers=2))
    assert "update RMS 0.60 lr, 2.4 x its usual size, RMS_t 2.3" in finding.evidence
    assert find(cause, grown([2.24, 2.24], layers=2)) is None
    assert find(cause, grown([2.3], layers=2)) is None
    assert find(cause, grown([2.3, 2.3], layers=1)) is None
    assert find(cause, grown([2.3, 2.3], last=0.499, layers=2)) is None


def test_record_lag_at_one_reading_is_stale_after_many_readings():
    cause = "stale second moment"
    assert find(cause, grown([1.81], layers=3, steps=33))
    assert find(cause, grown([1.79], layers=3, steps=33)) is None
    assert find(cause, grown([1.9], layers=3, steps=32)) is None
    other = losses(grown([1.9], layers=3, steps=33), [1.0, 1.01] * 16 + [9.0])
    assert find(cause, other) is None  # the batch is unlike all before it
    for deviations, fires in ((5.97, True), (6.03, False)):
        last = math.exp(0.05 + deviations * 0.05 * math.sqrt(32 / 31))
        history = losses(grown([1.81], layers=3, steps=33), [1.0, math.exp(0.1)] * 16 + [last])
        assert bool(find(cause, history)) == fires
    scattered = [0.5, 1.7] * 16
    assert find(cause, grown([*scattered, 1.9], layers=3, steps=33)) is None


@pytest.mark.parametrize(
    ("beta1", "beta2", "fires"), [(0.9, 0.81, True), (0.9, 0.8101, False), (0.0, 0.0, False)]
)
def test_beta1_squared_above_beta2_is_reported(beta1, beta2, fires):
    finding = find("beta1^2 >= beta2", history_of(HEALTHY._replace(beta1=beta1, beta2=beta2)))
    assert bool(finding) == fires
    if finding:
        assert (finding.layer, finding.remedy) == ("", {"beta2": 0.95})
        assert "or beta1 < 0.9" in finding.change


def test_proposed_beta2_is_at_least_beta1():
    finding = find("beta1^2 >= beta2", history_of(HEALTHY._replace(beta1=0.97, beta2=0.9)))
    assert finding.remedy == {"beta2": 0.97}


def test_betas_that_are_exchanged_are_exchanged_back():
    finding = find("beta1^2 >= beta2", history_of(HEALTHY._replace(beta1=0.999, beta2=0.9)))
    assert finding.remedy == {"beta1": 0.9, "beta2": 0.999}
    assert finding.change == "betas=(0.9, 0.999); they seem to be exchanged"


@pytest.mark.parametrize(
    ("changes", "fires"),
    [
        ({"lost": 0.0502}, True),
        ({"lost": 0.0498}, False),
        ({"still": 0.251, "dtype": "bfloat16"}, True),
        ({"still": 0.249, "dtype": "bfloat16"}, False),
        ({"still": 0.9}, False),
        ({"still": 0.9, "dtype": "float64"}, False),
        ({"still": 0.9, "dtype": "bfloat16", "shape": (63,)}, False),
        ({"still": 0.9, "dtype": "bfloat16", "shape": (64,)}, True),
    ],
    ids=str,
)
def test_underflow_is_v_zero_or_unchanged(changes, fires):
    finding = find("second moment underflow", history_of(HEALTHY._replace(**changes)))
    assert bool(finding) == fires
    if finding:
        assert (finding.layer, finding.remedy) == ("w", {"storage": "float32"})


def below(**changes: Any):
    return find("eps dominates", history_of(HEALTHY._replace(t=2.0, step=2, **changes)))


def test_eps_dominates_above_half_of_the_elements():
    finding = below(below_eps=0.502, eps=1e-3, root_median=2e-4)
    assert (finding.layer, finding.remedy) == ("w", {"eps": pytest.approx(2e-6)})
    assert "50% of sqrt(v_hat) are below eps = 0.001; they are about 0.0002" in finding.evidence
    assert below(below_eps=0.5) is None
    assert find("eps dominates", history_of(HEALTHY._replace(below_eps=0.9))) is None  # at t = 1
    assert below(below_eps=0.9, root_median=0.0, root_rms=3e-4).remedy == {
        "eps": pytest.approx(3e-6)
    }
    assert below(below_eps=0.9, root_median=0.0, root_rms=0.0, eps=1e-5).remedy == {
        "eps": pytest.approx(1e-7)
    }


def test_eps_ignores_vectors_with_rounding_error_as_gradient():
    for g_rms, fires in ((0.995e-4, False), (1.005e-4, True)):
        bias = HEALTHY._replace(layer="b", shape=(16,), t=2.0, below_eps=0.9, g_rms=g_rms)
        assert bool(find("eps dominates", history_of(HEALTHY, bias))) == fires
    worst = find(
        "eps dominates",
        history_of(
            HEALTHY._replace(t=2.0, below_eps=0.6),
            HEALTHY._replace(layer="b", t=2.0, below_eps=0.9),
        ),
    )
    assert worst.layer == "b"


# steps


def test_replaced_v_is_a_changed_state():
    """v is 1 - beta2 at step 1; beta2 leaves 0.999 of it per step."""
    old = HEALTHY._replace(root_rms=1.0)
    for steps, kept, seen in (
        (1, 0.79, True),
        (1, 0.81, False),
        (1, 1.26, True),
        (1, 1.24, False),
        (3, 1.26, False),
    ):
        v = kept * 0.001 * 0.999 ** (steps - 1)
        now = HEALTHY._replace(step=1 + steps, t=1.0 + steps, before=float(steps), kept_rms=v**0.5)
        assert bool(find("optimizer state changed", history_of(old, now))) == seen
        uncounted = now._replace(t=now.t + 5)
        assert find("optimizer state changed", history_of(old, uncounted)) is None


def test_update_beyond_adams_bound_is_a_changed_state():
    bound = float(update_bound(0.9, 0.999, 6.0))
    for reach, update, past, seen in (
        (1.06, 1.06, 0.9, True),
        (1.04, 1.06, 0.9, False),
        (1.06, 1.04, 0.9, False),
        (1.06, 1.06, 1.01, False),
    ):
        readings = run(6, reach=past, update_max=update * bound)
        readings[-1] = readings[-1]._replace(reach=reach)
        assert bool(find("optimizer state changed", history_of(*readings))) == seen
        others = [*readings[:-1], readings[-1]._replace(beta1=0.9001)]
        assert find("optimizer state changed", history_of(*others)) is None


def test_consequences_of_a_state_fault_are_not_reported():
    diagnosis = Diagnosis(history_of(), lambda alert: None)
    stale = DETECTORS["stale second moment"]
    diagnosis.reported_at["optimizer state changed"] = 100
    for step, explained in ((100, True), (163, True), (164, False)):
        diagnosis.history.step = step
        assert diagnosis._is_consequence(stale) == explained
        assert not diagnosis._is_consequence(DETECTORS["non-finite gradients"])


def test_zero_count_with_nonzero_v_is_wrong():
    finding = find("step count wrong", history_of(HEALTHY._replace(before=0.0, warm=True)))
    assert (finding.layer, finding.remedy) == ("w", {"step": 1000})  # 1 / (1 - beta2)
    assert find("step count wrong", history_of(HEALTHY._replace(before=0.0, warm=False))) is None
    assert (
        find("step count wrong", history_of(HEALTHY._replace(before=0.0, warm=True, g_rms=0.0)))
        is None
    )


def test_positive_count_with_every_v_zero_is_wrong():
    cold = HEALTHY._replace(before=7.0, t=8.0, warm=False)
    finding = find("step count wrong", history_of(cold))
    assert finding.remedy == {"step": 0}
    assert "the count was 7 while every v was 0" in finding.evidence
    assert (
        find("step count wrong", history_of(cold, HEALTHY._replace(layer="b", before=7.0, t=8.0)))
        is None
    )


@pytest.mark.parametrize(
    ("dtype", "fires"), [("float32", True), ("float64", True), ("bfloat16", False)]
)
def test_moments_that_vanish_between_readings_are_found_in_wide_dtypes(dtype, fires):
    steps = run(20, every=10, dtype=dtype, root_rms=lambda step: 1.0 if step == 1 else 0.01)
    finding = find("step count wrong", history_of(*steps))
    assert bool(finding) == fires
    if finding:
        assert (finding.layer, finding.remedy) == ("", {"step": 0})


def rushed(losses_of: list[float], **changes: Any):
    history = history_of(
        *run(len(losses_of), ratio=0.2, beta2=changes.pop("beta2", 0.999), **changes)
    )
    return find("warmup too short", losses(history, losses_of))


def test_climbing_loss_at_full_lr_needs_a_warmup():
    climb = [1.0] * 6 + [1.055] * 6
    finding = rushed(climb)
    assert (finding.layer, finding.remedy) == ("", {"warmup": 2000})
    assert "loss 1.05, 1.1 x its start" in finding.evidence
    assert rushed([1.0] * 6 + [1.045] * 6) is None
    assert rushed(climb, lr=lambda step: 1e-3 * min(1.0, step / 3)) is None  # warmed up
    assert rushed(climb, beta2=0.8) is None  # 10 steps are v's memory
    assert rushed([1.0] * 6 + [0.698] * 5 + [1.055] * 6) is None  # it had fallen
    assert rushed([1.0] * 6 + [0.702] * 5 + [1.055] * 6)
    assert find("warmup too short", losses(history_of(*run(12, ratio=0.0995)), climb)) is None
    assert find("warmup too short", losses(history_of(*run(12, ratio=0.1005)), climb))
    assert find("warmup too short", losses(history_of(*run(12, ratio=0.598)), climb))
    assert find("warmup too short", losses(history_of(*run(12, ratio=0.602)), climb)) is None


def test_stuck_loss_needs_a_warmup():
    assert rushed([1.0] * 32)
    assert rushed([1.0] * 31) is None
    assert rushed([1.0] + [0.94] * 31)  # five losses of 0.952 of the start, above 0.9 x 1.05
    assert rushed([1.0] + [0.93] * 31) is None
    assert rushed([1.0] * 8 + [0.81] * 24) is None  # it falls
    assert rushed([1.0] + [0.79] * 31) is None


# weight decay


def drift(
    ends: tuple[float, float] = (2.0, 1.4),
    grown: float = 2.01,
    lr: float = 0.499,
    shrink=0.02,
    shape=(8, 16),
):
    """Forty readings at the peak and forty after lr, weights and decay fell; gradients over weights
    grew.
    """
    weight = lambda step: ends[0] if step <= 40 else ends[1]  # noqa: E731
    relative = lambda step: 1.0 if step <= 40 else grown  # noqa: E731
    steps = run(
        80,
        lr=lambda step: 1e-3 * (1 if step <= 40 else lr),
        weight_rms=weight,
        g_rms=lambda step: weight(step) * relative(step),
        shrink=lambda step: shrink * (1 if step <= 40 else lr),
        shape=shape,
    )
    return find("weight norm drift", history_of(*steps))


def test_weights_that_shrink_as_lr_falls_drift():
    finding = drift()
    assert (finding.layer, finding.remedy) == ("w", {"decay": "corrected", "peak_lr": 1e-3})
    assert (
        "weights at 0.70 of their size at the peak lr 0.001, gradients over weights 2.0 x their least"
        in finding.evidence
    )
    assert drift(grown=1.99) is None
    assert drift(lr=0.501) is None
    assert drift(ends=(2.0, 1.602)) is None
    assert drift(ends=(2.0, 1.598))
    assert drift(shape=(16,)) is None


def test_drift_needs_decay_that_explains_the_shrinkage():
    """79 steps of a decay between s and 0.499 s take 59.2 s of the logarithm; half of log(1 / 0.7)
    is 0.178.
    """
    need = 0.5 * math.log(1 / 0.7) / (79 * (1 + 0.499) / 2)
    assert drift(shrink=1.003 * need)
    assert drift(shrink=0.997 * need) is None


# the diagnosis


class Alerts(list):
    def __call__(self, alert: Alert) -> None:
        self.append(alert)


def test_cause_is_reported_again_after_a_thousand_steps():
    bad, finding = HEALTHY._replace(before=5.0, finite=False), Alerts()
    history = history_of()
    diagnosis = Diagnosis(history, finding)
    for step in (1, 2, 1000, 1001):
        history.step = step
        history.readings.add(bad._replace(step=step))
        diagnosis.check("step")
    assert [alert.step for alert in finding if alert.cause == "non-finite gradients"] == [1, 1001]
    assert diagnosis.alerts == finding


def test_report_lists_the_likelier_cause_first():
    history = history_of(
        HEALTHY._replace(finite=False, before=0.0, warm=True, below_eps=0.9, t=5.0)
    )
    diagnosis = Diagnosis(history, lambda alert: None)
    diagnosis.check("reading")
    diagnosis.check("step")
    diagnosis.alerts.reverse()
    order = [
        diagnosis.report().index(cause)
        for cause in ("step count wrong", "non-finite gradients", "eps dominates")
    ]
    assert order == sorted(order)


def test_updates_unlike_adams_are_not_replayed():
    ring = SimpleNamespace(last_step=2, recorded=lambda: pytest.fail("replayed"), full=False)
    for adams in (0.79, 1.26):
        history = history_of(HEALTHY._replace(step=2, adams=adams))
        history.recordings["w"] = ring
        assert Diagnosis(history, lambda alert: None)._replay("w", {"eps": 1.0}) == ("", {})


# a noisy second moment


def noisy(beta2: float, step: int = 64, sign: float = 1.0, steps: int = 64, spike: float = 8.0):
    """One gradient of +8 in eight and seven of -1: their mean is 1/8, and the update of a short
    memory is below 0.
    """
    g = torch.full((steps, 4), -1.0)
    g[::8] = spike
    past = RecordedSteps(
        sign * g, torch.zeros(4), torch.ones(4), 100.0, StepValues(1e-3, 0.0, beta2, 1e-8)
    )
    history = history_of(*run(20), step=step)
    history.recordings["w"] = SimpleNamespace(last_step=step, full=True, recorded=lambda: past)
    return find("second moment too noisy", history)


def test_short_memory_with_ascent_is_too_noisy():
    finding = noisy(0.5)
    assert (finding.layer, finding.remedy) == ("w", {"beta2": 0.984375})  # 1 - 1 / 64
    assert "cosine of mean update and mean gradient -1.00" in finding.evidence
    assert noisy(0.5, sign=-1.0)
    assert noisy(0.5, step=80)
    assert noisy(0.5, step=72) is None  # looked at every sixteenth step
    assert noisy(0.5, spike=1.0) is None  # v hardly varies
    assert noisy(0.999) is None

"""Detectors exactly at their limits, and which tensor of several an alert is about."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tests.monitor.test_detector_rules import HEALTHY, find, history_of, losses, run

from betaplane.monitor.alert import Alert
from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.counterfactual import replay
from betaplane.monitor.detectors.decay import _decay_explains
from betaplane.monitor.detectors.gradients import _is_usual_update
from betaplane.monitor.detectors.rate import _largest_update, _matrices
from betaplane.monitor.diagnosis import Diagnosis
from betaplane.monitor.history import GradientCorrelation
from betaplane.monitor.reading_history import TouchedRows
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

VALUES = StepValues(0.1, 0.9, 0.999, 1e-8)


def recorded(last: float = 1.0, steps: int = 64) -> RecordedSteps:
    """Noise of one scale, with the last batch scaled."""
    g = torch.randn(steps, 64, generator=torch.Generator().manual_seed(0))
    g[-1] *= last
    return RecordedSteps(g, torch.zeros(64), torch.ones(64), 1e4, VALUES)


def recording(steps: RecordedSteps | None, last_step: int = 9) -> SimpleNamespace:
    return SimpleNamespace(last_step=last_step, full=True, recorded=lambda: steps)


def diagnosis_of(**recordings: SimpleNamespace) -> Diagnosis:
    readings = [
        HEALTHY._replace(layer=layer, step=9, finite=layer != "broken") for layer in recordings
    ]
    history = history_of(*readings)
    history.recordings.update(recordings)
    return Diagnosis(history, lambda alert: None)


# the diagnosis


def test_the_tensor_of_the_finding_is_replayed_and_not_the_fastest_growing_one():
    diagnosis = diagnosis_of(broken=recording(recorded()), grown=recording(recorded(last=100.0)))
    assert diagnosis.history.fastest_growing_layer() == "grown"
    diagnosis.check("step")
    [alert] = [alert for alert in diagnosis.alerts if alert.cause == "non-finite gradients"]
    assert (alert.layer, alert.replayed["layer"], alert.replayed["last"]) == ("broken", "broken", 9)


def test_a_replay_is_described_if_the_update_left_its_normal_band():
    for last, spike in ((3.0, False), (4.0, True)):
        steps = recorded(last)
        actual = replay(steps).actual
        assert (actual > 1) == spike
        text, row = diagnosis_of(w=recording(steps))._replay("w", {})
        assert bool(text) == spike
        assert row["actual"] == actual
    assert diagnosis_of(w=recording(recorded(5.0)))._replay("w", {})[0].startswith("update 1.35 x")


def test_nothing_is_replayed_without_the_steps_up_to_now():
    nothing = ("", {})
    assert diagnosis_of(w=recording(recorded()))._replay("other", {}) == nothing
    assert diagnosis_of(w=recording(recorded(), last_step=8))._replay("w", {}) == nothing
    assert diagnosis_of(w=recording(None))._replay("w", {}) == nothing
    assert diagnosis_of(w=recording(recorded(steps=7)))._replay("w", {}) == nothing


def test_a_report_without_alerts_counts_steps_and_readings():
    diagnosis = diagnosis_of()
    diagnosis.history.step, diagnosis.history.readings.steps_read = 120, 15
    said = "No alert in 120 steps, 15 of them read. Not judged: losses, none was given."
    assert diagnosis.report() == said
    alert = Alert(3, "w", "non-finite gradients", "", "", "", "", "", {})
    diagnosis.alerts.append(alert)
    assert diagnosis.report() == str(alert)


# limits that a number of float64 can reach exactly


def test_decay_at_its_limits_explains_the_shrinkage():
    """128 steps take 128 times the mean decay, exactly; half of log(2) is needed."""
    enough = 0.5 * math.log(2) / 128
    peak = HEALTHY._replace(step=0, lr=1.0, weight_rms=2.0, shrink=enough)
    late = HEALTHY._replace(step=128, lr=0.5, weight_rms=1.0, shrink=enough)
    assert _decay_explains(late, peak)
    shorter = enough * (1 - 1e-12)
    assert not _decay_explains(late._replace(shrink=shorter), peak._replace(shrink=shorter))


def test_decay_of_11_tenths_of_the_corrected_one_is_not_corrected():
    peak = HEALTHY._replace(step=0, lr=1.0, weight_rms=2.0, shrink=1.0)
    late = HEALTHY._replace(step=128, lr=0.5, weight_rms=1.9, shrink=1.1 * 0.25)
    assert _decay_explains(late, peak)
    assert not _decay_explains(late._replace(shrink=1.1 * 0.25 * (1 - 1e-12)), peak)


def test_an_update_of_105_percent_is_still_usual():
    def usual(*sizes: float) -> bool:
        return _is_usual_update([HEALTHY._replace(update_rms=size) for size in sizes])

    assert usual(1.05)
    assert not usual(0.1, 0.1, 1.0500001)
    assert usual(2.0, 2.0, 2.0, 3.15)  # 1.5 times the median of 2
    assert not usual(2.0, 2.0, 2.0, 3.16)
    assert not usual(1.2, 1.2, 1.2, 1.9)


def test_a_matrix_with_one_reading_has_a_largest_update():
    ratio, reading = _largest_update(history_of(HEALTHY._replace(ratio=0.2)))
    assert (ratio, reading.layer) == (0.2, "w")
    assert list(_matrices(history_of(HEALTHY._replace(shape=(4,))))) == []
    assert list(_matrices(history_of(HEALTHY._replace(shape=(4, 1))))) == ["w"]


def test_an_update_of_three_tenths_of_the_weights_explains_a_jump_of_the_loss():
    """0.3 itself is large enough; at 0.2999 the batch is to blame."""
    calm = [1.0, 1.01] * 10

    def changed(ratio: float):
        history = losses(
            history_of(*run(21, ratio=lambda step: ratio if step == 20 else 0.001)), [*calm, 9.0]
        )
        history.readings.gradient_norms.extend(enumerate([*calm, 9.0], 1))
        return find("sudden data change", history)

    assert changed(0.2999)
    assert changed(0.3001) is None


def test_a_quarter_of_v_that_does_not_change_is_no_underflow():
    narrow = HEALTHY._replace(dtype="bfloat16")
    assert find("second moment underflow", history_of(narrow._replace(still=0.25))) is None
    assert find("second moment underflow", history_of(narrow._replace(still=0.251)))
    assert find("second moment underflow", history_of(narrow._replace(lost=0.05))) is None
    assert find("second moment underflow", history_of(narrow._replace(lost=0.051)))


def test_a_loss_without_a_reading_at_its_step_needs_no_warmup():
    history = losses(history_of(*run(11, ratio=0.2)), [1.0] * 6 + [1.2] * 5)
    assert find("warmup too short", history)
    history.step = 12
    assert find("warmup too short", history) is None


def test_the_tensor_that_lags_most_is_stale():
    for first, second in ((5.0, 6.0), (6.0, 5.0)):
        readings = [
            *run(20, layer="a", lag=first, update_rms=0.9),
            *run(20, layer="b", lag=second, update_rms=0.9),
        ]
        history = history_of(*sorted(readings, key=lambda reading: reading.step))
        assert find("stale second moment", history).layer == ("a" if first > second else "b")


def test_rows_that_were_never_touched_do_not_make_the_others_steady():
    """Six rows without any gradient, and four with one in ten readings, as in an embedding."""
    rows = TouchedRows(torch.zeros(10, dtype=torch.bool))
    for look in range(200):
        rows.add(torch.arange(10) == 6 + look % 10)
    history = history_of(*run(20, shape=(10, 4)))
    history.readings.rows["w"] = rows
    assert find("dead rows", history) is None


def test_the_largest_rate_is_at_the_edge_of_stability():
    """Oscillations of the whole model are blamed on the tensor with the largest rate."""
    readings = [HEALTHY._replace(layer=name, lr=lr) for name, lr in (("a", 1e-3), ("b", 4e-3))]
    for order in (readings, readings[::-1]):
        history = history_of(*order, step=1)
        history.correlations.extend(
            GradientCorrelation(step, -0.9, 1.0 + step / 12) for step in range(-10, 2)
        )
        found = find("adaptive edge of stability", history)
        assert found.remedy == {"lr": 2e-3}
        assert f"curvature above {(2 + 2 * 0.9) / (0.1 * 4e-3):.3g}" in found.evidence


@pytest.mark.parametrize(
    ("t", "shape", "g", "below", "fires"),
    [
        (2.0, (8, 16), 1.0, 0.51, True),
        (1.0, (8, 16), 1.0, 0.51, False),  # the first step has one gradient only
        (2.0, (8, 16), 1.0, 0.5, False),
        (2.0, (8,), 1.0, 0.51, True),
        (2.0, (8,), 1e-5, 0.51, False),  # a vector beside a matrix of gradients of 1
        (2.0, (8, 1), 1e-5, 0.51, True),
    ],
)
def test_eps_dominates_a_vector_only_beyond_rounding(t, shape, g, below, fires):
    readings = [
        HEALTHY._replace(layer="other", t=t),
        HEALTHY._replace(t=t, shape=shape, g_rms=g, below_eps=below, root_median=2e-9),
    ]
    found = find("eps dominates", history_of(*readings))
    assert bool(found) == fires
    if found:
        assert (found.layer, found.remedy) == ("w", {"eps": 2e-11})


def test_eps_is_a_hundredth_of_the_typical_size_of_v():
    """The median of sqrt(v_hat); its RMS if that is 0; eps itself if both are."""
    for median, rms, eps in ((3e-9, 1.0, 3e-11), (0.0, 5e-9, 5e-11), (0.0, 0.0, 1e-10)):
        reading = HEALTHY._replace(t=5.0, below_eps=0.9, root_median=median, root_rms=rms)
        assert find("eps dominates", history_of(reading)).remedy == {"eps": eps}

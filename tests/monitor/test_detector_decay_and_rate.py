"""A drift of weights and a rate that is too large: each condition at and beside its limit."""

from __future__ import annotations

import math

import pytest
from tests.monitor.test_detector_rules import HEALTHY, drift, find, history_of, losses, run

from betaplane.monitor.detectors.decay import _decay_explains, _has_shrunk
from betaplane.monitor.detectors.rate import _largest_update, _matrices

PEAK = HEALTHY._replace(step=10, lr=1e-3, weight_rms=2.0, shrink=0.01)


def late(lr: float = 5e-4, weights: float = 1.0, **changes):
    return HEALTHY._replace(step=110, lr=lr, weight_rms=weights, **changes)


def test_weights_have_shrunk_with_a_rate_of_half_to_four_fifths():
    assert _has_shrunk(late(5e-4, 1.6), PEAK)
    assert not _has_shrunk(late(5.01e-4, 1.0), PEAK)
    assert not _has_shrunk(late(1e-4, 1.601), PEAK)


def test_decay_explains_half_of_the_logarithm_of_the_shrinkage():
    """100 steps of a mean decay of s take 100 s; half of log 2 is 0.3466."""
    mean = 0.5 * math.log(2) / 100
    for share, explains in ((1.01, True), (0.99, False)):
        decay = share * mean
        peak = PEAK._replace(shrink=1.5 * decay)
        assert _decay_explains(late(shrink=0.5 * decay), peak) == explains


def test_decay_that_falls_with_the_square_of_the_rate_is_corrected():
    """At half the rate AdamC's decay is a quarter; above 1.1 times that it is not corrected."""
    for share, explains in ((1.11, True), (1.09, False)):
        assert _decay_explains(late(5e-4, 1.9, shrink=share * 0.01 / 4), PEAK) == explains


def test_decay_of_weights_that_did_not_shrink_explains_them():
    assert _decay_explains(late(shrink=0.01, weights=2.0), PEAK)
    assert _decay_explains(late(shrink=0.01, weights=0.0), PEAK._replace(weight_rms=0.0))


def test_drift_names_the_matrix_that_grew_most():
    def drifting(layer: str, grown: float):
        at_peak = lambda step: step <= 40  # noqa: E731
        return run(
            80,
            layer=layer,
            lr=lambda step: 1e-3 if at_peak(step) else 4e-4,
            weight_rms=lambda step: 2.0 if at_peak(step) else 1.4,
            g_rms=lambda step: 2.0 if at_peak(step) else 1.4 * grown,
            shrink=lambda step: 0.02 if at_peak(step) else 8e-3,
        )

    for first, second in ((2.5, 3.0), (3.0, 2.5)):
        readings = sorted([*drifting("a", first), *drifting("b", second)], key=lambda r: r.step)
        found = find("weight norm drift", history_of(*readings))
        assert found.layer == ("b" if second > first else "a")
        assert "3.0 x their least" in found.evidence
    assert drift()


# the learning rate


def test_rate_raised_within_eight_readings_is_to_blame():
    def found(step: int):
        steps = run(
            40,
            lr=lambda now: 1e-3 if now < step else 1e-2,
            ratio=lambda now: 0.5 if now == 40 else 0.0,
        )
        return find(
            "learning rate too large", losses(history_of(*steps), [9.0] + [1.0] * 20 + [1.6] * 19)
        )

    assert found(33)  # between the readings of 32 and 33
    assert found(32) is None


def test_largest_update_is_that_of_all_matrices_over_time():
    steps = run(5, ratio=lambda step: 0.4 if step == 3 else 0.1)
    others = run(5, layer="b", ratio=0.2)
    ratio, reading = _largest_update(history_of(*steps, *others))
    assert (ratio, reading.layer, reading.step) == (pytest.approx(0.4), "w", 3)
    ratio, reading = _largest_update(history_of(*run(5, shape=(4,))))
    assert (ratio, reading) == (0.0, None)


def test_matrix_that_began_at_zero_keeps_its_last_reading():
    history = history_of(*run(5), *run(5, layer="b"), *run(5, layer="bias", shape=(4,)))
    history.readings.zero_at_start.add("b")
    history.readings.zero_at_start.add("bias")
    matrices = _matrices(history)
    assert {name: [reading.step for reading in kept] for name, kept in matrices.items()} == {
        "w": [1, 2, 3, 4, 5],
        "b": [5],
    }


def test_loss_at_which_the_rate_is_blamed_is_in_the_evidence():
    steps = run(20, ratio=0.5)
    found = find("learning rate too large", losses(history_of(*steps), [2.0] + [4.0] * 19))
    assert "loss 4, at the start 2" in found.evidence
    assert found.change == "lr=2e-05, so that an update is 1% of the weights"

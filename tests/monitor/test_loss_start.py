"""The level of the loss before training, if single losses scatter."""

from __future__ import annotations

import math

import pytest
from tests.monitor.test_detector_boundaries import rushed

from betaplane.monitor.loss_history import LossHistory

# Minibatch losses of a matrix factorization whose first minibatch is easy by chance; none of the
# runs of this problem fails.
SCATTERED = [
    1.06, 5.19, 1.94, 1.12, 4.05, 2.65, 3.22, 0.7, 3.61, 2.84, 1.35, 1.71, 1.08, 1.86, 2.38, 4.23,
    2.91, 3.53, 4.0, 3.76, 2.42, 2.61, 2.36, 3.51, 3.92, 4.56, 3.52, 1.71, 4.82, 4.33, 3.86, 3.61,
    2.48, 2.08, 0.59, 1.63, 2.82, 2.99, 1.34, 1.9, 2.2, 3.57, 2.06, 4.23, 2.37, 2.65, 1.27, 2.21,
    2.75, 4.13, 6.16, 2.54, 3.79, 6.24, 2.82, 2.49, 5.32, 6.85, 4.31, 3.1, 2.45, 4.28, 1.23, 2.89,
]  # fmt: skip


def history(losses: list[float]) -> LossHistory:
    found = LossHistory()
    for step, loss in enumerate(losses, 1):
        found.record(step, loss)
    return found


@pytest.mark.parametrize("level", [0.01, 1.0, 100.0])
def test_the_start_is_the_first_loss_if_losses_scatter_little(level):
    assert history([level]).start == level
    steady = history([level * factor for factor in (1.0, 1.05, 1.3, 1.35, 1.3, 1.28)])
    assert steady.scatter < 0.1
    assert steady.start == level


def test_the_start_is_a_mean_if_losses_scatter():
    found = history(SCATTERED)
    assert found.scatter > 0.4  # 16 losses at least
    assert found.start == pytest.approx(sum(SCATTERED[:16]) / 16)
    assert not found.has_risen(3.0)  # as over the first loss
    assert found.climb < 1.0


def test_the_start_is_the_first_loss_if_losses_fall_fast():
    found = history([100.0, 60.0, 30.0, 12.0, 8.0, 4.0, 3.0, 7.0, 9.0])
    assert found.scatter > 0.1
    assert found.start == 100.0


def test_the_start_of_a_broken_run_is_not_finite():
    found = history([1.0, 8.0, math.inf, 2.0, 0.1, 9.0])
    assert found.start == math.inf
    assert not found.climb > 1.0


def test_a_low_first_loss_is_no_short_warmup():
    assert rushed(SCATTERED) is None
    assert rushed([1.0, *[4.0] * 20])  # without scatter it is one

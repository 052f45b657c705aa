"""On the digits at beta1 = 0.9, smaller batches need a larger beta2 (Zhang et al. 2022)."""

import math

import pytest
from benchmarks.known_results.batch_size import never_rises, sweep


def test_a_batch_of_4_needs_a_larger_beta2_than_one_of_256():
    measured = sweep(lambda _: (0.01,), steps=lambda _: 400, seeds=2, batches=(4, 256))
    small, large = measured.smallest_good(measured.losses[:, 0])
    assert large < 0.72 < small  # 0.65 against 0.75


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.05, 0.02])
def test_the_smallest_good_beta2_never_falls_as_the_batch_shrinks(limit):
    """At a fixed learning rate and equal steps, and with the best of three learning rates per
    cell.
    """
    lrs = (0.0025, 0.005, 0.01)
    measured = sweep(lambda _: lrs)
    protocols = {lr: measured.losses[:, i] for i, lr in enumerate(lrs)}
    protocols["best"] = measured.losses.min(1)
    for name, losses in protocols.items():
        smallest = measured.smallest_good(losses, limit)
        assert never_rises(smallest), (name, smallest)
        memory = [1 / (1 - beta2) for beta2 in smallest]
        assert memory[0] >= math.sqrt(2) * memory[-1], (name, smallest)  # and it changes

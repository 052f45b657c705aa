"""On the digits at beta1 = 0.9, the smaller the batch, the larger the smallest good beta2 (Zhang et
al. 2022).
"""

import math

import pytest
from benchmarks.truth import falls, sweep


def test_a_batch_of_4_needs_a_larger_beta2_than_one_of_256():
    found = sweep(lambda _: (0.01,), steps=lambda _: 400, seeds=2, batches=(4, 256))
    small, large = found.smallest_good(found.losses[:, 0])
    assert large < 0.72 < small  # 0.65 against 0.75


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.05, 0.02])
def test_the_smallest_good_beta2_never_falls_as_the_batch_shrinks(limit):
    """At a fixed learning rate and equal steps; also with the best of three learning rates a cell."""
    found = sweep(lambda _: (0.0025, 0.005, 0.01))
    protocols = {lr: found.losses[:, i] for i, lr in enumerate((0.0025, 0.005, 0.01))} | {
        "best": found.losses.min(1)
    }
    for name, losses in protocols.items():
        smallest = found.smallest_good(losses, limit)
        assert falls(smallest), (name, smallest)
        memory = [1 / (1 - beta2) for beta2 in smallest]
        assert memory[0] >= math.sqrt(2) * memory[-1], (name, smallest)  # and it moves

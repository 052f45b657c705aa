"""Minibatches: every example once per epoch, independent of the block size, a function of the
seed.
"""

from itertools import islice

import pytest
import torch

from betaplane.problems import minibatches

ORDERS = ("shuffle", "replacement", "cyclic")


def first(steps: int, *args, block: int) -> torch.Tensor:
    blocks = islice(minibatches(*args, block=block), -(-steps // block))
    return torch.cat(list(blocks))[:steps]


@pytest.mark.parametrize("order", ORDERS)
def test_the_sequence_does_not_depend_on_the_block(order):
    args = (11, 3, order, 5)
    whole = first(60, *args, block=60)
    assert whole.shape == (60, 3)
    assert whole.dtype == torch.int64
    for block in (1, 2, 7, 59, 61):
        assert torch.equal(first(60, *args, block=block), whole)


@pytest.mark.parametrize("order", ["shuffle", "replacement"])
def test_the_sequence_is_a_function_of_the_seed(order):
    assert torch.equal(first(20, 50, 4, order, 1, block=3), first(20, 50, 4, order, 1, block=3))
    assert not torch.equal(first(20, 50, 4, order, 1, block=3), first(20, 50, 4, order, 2, block=3))


def test_shuffle_takes_every_example_once_per_epoch_in_new_orders():
    epochs = first(15, 12, 4, "shuffle", 0, block=3).view(5, 12)
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 5


def test_shuffle_drops_the_incomplete_minibatch_without_repeats():
    epochs = first(9, 10, 3, "shuffle", 0, block=3).view(3, 9)
    assert all(len(set(epoch.tolist())) == 9 for epoch in epochs)


def test_cyclic_repeats_all_examples():
    assert first(2000, 7, 3, "cyclic", 0, block=64).flatten().tolist() == [
        i % 7 for i in range(6000)
    ]


def test_replacement_is_uniform():
    drawn = torch.bincount(first(2000, 5, 2, "replacement", 0, block=100).flatten(), minlength=5)
    assert (drawn - 800).abs().max() < 5 * (800 * 0.8) ** 0.5


def test_the_global_generator_does_not_change():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first(10, 20, 2, "shuffle", 0, block=2)
    assert torch.equal(before, torch.get_rng_state())

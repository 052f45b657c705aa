"""Other batch sizes: larger ones are what would have been recorded, smaller ones have the right
variance.
"""

from __future__ import annotations

import torch

from betaplane.problems import digits
from betaplane.replay import record_problem, with_batch_size


def test_larger_batches_are_exact():
    problem = digits(hidden=4).with_(order="cyclic")
    small = record_problem(problem, 100, 64, after=5, batch_size=8)
    large = record_problem(problem, 100, 16, after=5, batch_size=32)
    found = with_batch_size(small, 32)
    torch.testing.assert_close(found.values, large.values, rtol=1e-4, atol=1e-6)
    assert (found.batch_size, found.changed, found.steps) == (32, "averaged", 16)


def test_smaller_batches_have_more_noise_around_the_same_mean():
    stream = record_problem(digits(hidden=4), 100, 64, batch_size=32)
    found = with_batch_size(stream, 8)
    torch.testing.assert_close(found.mean, stream.mean, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.values.var(0), 4 * stream.values.var(0), rtol=1e-4, atol=1e-9)
    assert (found.batch_size, found.changed) == (8, "extrapolated")


def test_the_same_batch_size_is_the_same_stream():
    stream = record_problem(digits(hidden=4), 100, 16)
    assert with_batch_size(stream, 32) is stream

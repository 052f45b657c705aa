"""ReadingBuffer: readings are returned as stored, up to float32 rounding."""

from __future__ import annotations

import math

import pytest
import torch

import betaplane
from betaplane.monitor.quantities.reading_buffer import FIELDS, FLOAT64_FIELDS, ReadingBuffer


@pytest.fixture(scope="module")
def read():
    """The readings of one tensor at ten steps."""
    p = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = torch.optim.Adam([p])
    found = []
    with betaplane.watch(optimizer, every=1, budget=math.inf, console=False) as watcher:
        for _ in range(10):
            p.grad = torch.randn(5, 3)
            optimizer.step()
            found += watcher.history.current_readings()
    return found


@pytest.mark.parametrize("length", [3, 10, 64])
def test_readings_are_returned_as_stored(read, length: int):
    kept = ReadingBuffer(length)
    for reading in read:
        kept.append(reading)
    assert [each.step for each in kept] == [each.step for each in read[-length:]]
    assert kept[-1] is read[-1]
    assert kept[-2:][0] == kept[-2]
    for ours, right in zip(kept, read[-length:], strict=True):
        assert (ours.layer, ours.shape, ours.dtype, ours.step, ours.finite) == (
            right.layer, right.shape, right.dtype, right.step, right.finite)  # fmt: skip
        assert [getattr(ours, name) for name in FLOAT64_FIELDS] == [
            getattr(right, name) for name in FLOAT64_FIELDS
        ]
        told = [[float(getattr(each, name)) for name in FIELDS] for each in (ours, right)]
        assert told[0] == pytest.approx(told[1], rel=1e-6, nan_ok=True)


def test_values_beyond_float32_are_infinite(read):
    kept = ReadingBuffer(4)
    for size in (1e300, 1.0):
        kept.append(read[0]._replace(g_max=size))
    assert [each.g_max for each in kept] == [math.inf, 1.0]


def test_empty_buffer_is_empty():
    assert not ReadingBuffer(4)
    with pytest.raises(IndexError):
        ReadingBuffer(4)[-1]

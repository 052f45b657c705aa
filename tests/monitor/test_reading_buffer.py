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
    readings = []
    with betaplane.watch(optimizer, every=1, budget=math.inf, console=False) as watcher:
        for _ in range(10):
            p.grad = torch.randn(5, 3)
            optimizer.step()
            readings += watcher.history.current_readings()
    return readings


@pytest.mark.parametrize("length", [3, 10, 64])
def test_readings_are_returned_as_stored(read, length: int):
    buffer = ReadingBuffer(length)
    for reading in read:
        buffer.append(reading)
    assert [reading.step for reading in buffer] == [reading.step for reading in read[-length:]]
    assert buffer[-1] is read[-1]
    assert buffer[-2:][0] == buffer[-2]
    for ours, right in zip(buffer, read[-length:], strict=True):
        assert (ours.layer, ours.shape, ours.dtype, ours.step, ours.finite) == (
            right.layer, right.shape, right.dtype, right.step, right.finite)  # fmt: skip
        assert [getattr(ours, name) for name in FLOAT64_FIELDS] == [
            getattr(right, name) for name in FLOAT64_FIELDS
        ]
        values = [[float(getattr(reading, name)) for name in FIELDS] for reading in (ours, right)]
        assert values[0] == pytest.approx(values[1], rel=1e-6, nan_ok=True)


def test_values_beyond_float32_are_infinite(read):
    buffer = ReadingBuffer(4)
    for size in (1e300, 1.0):
        buffer.append(read[0]._replace(g_max=size))
    assert [reading.g_max for reading in buffer] == [math.inf, 1.0]


def test_empty_buffer_is_empty():
    assert not ReadingBuffer(4)
    with pytest.raises(IndexError):
        ReadingBuffer(4)[-1]

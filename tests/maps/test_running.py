"""Chunks under way: in the order in which they end, each once."""

from __future__ import annotations

import time
from concurrent.futures import Future

from betaplane.maps.running import Running


def test_ended_futures_are_taken_once_in_order():
    running: Running[str] = Running()
    futures = [Future() for _ in range(3)]
    for name, future in zip("abc", futures, strict=True):
        running.add(future, name)
    futures[2].set_result(1)
    futures[0].set_exception(ValueError("no"))
    assert running.take_ended(0.0) == [(futures[2], "c"), (futures[0], "a")]
    assert len(running) == 1
    assert running.take_ended(0.0) == []


def test_a_future_that_has_ended_before_is_taken():
    running: Running[int] = Running()
    future: Future = Future()
    future.set_result(3)
    running.add(future, 7)
    assert running.take_ended(10.0) == [(future, 7)]


def test_waiting_ends_at_the_timeout():
    running: Running[int] = Running()
    running.add(Future(), 1)
    began = time.monotonic()
    assert running.take_ended(0.01) == []
    assert time.monotonic() - began >= 0.01


def test_cancelled_futures_are_forgotten_and_begun_ones_are_not():
    running: Running[str] = Running()
    waiting, begun = Future(), Future()
    begun.set_running_or_notify_cancel()
    running.add(waiting, "waiting")
    running.add(begun, "begun")
    running.cancel_waiting()
    assert waiting.cancelled()
    begun.set_result(0)
    assert running.take_ended(0.0) == [(begun, "begun")]

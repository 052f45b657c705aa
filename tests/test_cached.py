"""Properties that are computed once, in several threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from betaplane.cached import cached_property


@dataclass(frozen=True)
class Slow:
    started: threading.Event
    may_end: threading.Event

    @cached_property
    def value(self) -> int:
        """The value."""
        self.started.set()
        assert self.may_end.wait(60)
        return 5


def set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_value_is_computed_once_and_documented():
    calls = []

    class Counted:
        @cached_property
        def value(self) -> str:
            """A letter."""
            calls.append("a")
            return "a"

    counted = Counted()
    assert (counted.value, counted.value, calls) == ("a", "a", ["a"])
    assert Counted.value.__doc__ == "A letter."
    del vars(counted)["value"]
    assert (counted.value, len(calls)) == ("a", 2)


def test_thread_that_computes_does_not_stop_another():
    slow = Slow(threading.Event(), threading.Event())
    thread = threading.Thread(target=lambda: slow.value, daemon=True)
    thread.start()
    assert slow.started.wait(60)
    values = []
    other = threading.Thread(
        target=lambda: values.append(Slow(set_event(), set_event()).value), daemon=True
    )
    other.start()
    other.join(60)
    assert values == [5]
    slow.may_end.set()
    thread.join(60)
    assert slow.value == 5

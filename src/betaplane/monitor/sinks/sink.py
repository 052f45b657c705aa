"""Sink: receives alerts, readings and losses; and Sinks, several of them as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from warnings import warn

from betaplane.monitor.alert import Alert


class Sink:
    """Receive what a watcher finds; a subclass overrides the methods it needs.

    Example:
        >>> import torch
        >>> from betaplane.monitor import watch
        >>> class Causes(Sink):
        ...     def alert(self, alert):
        ...         print(alert.cause)
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.Adam([p], betas=(0.9, 0.8))
        >>> p.grad = torch.ones(2)
        >>> with watch(optimizer, to=Causes(), console=False):
        ...     optimizer.step()
        beta1^2 >= beta2
    """

    def start(self, facts: dict[str, Any]) -> None:
        """Receive the run's metadata; see `describe_run`."""

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Receive the readings of one step, one per tensor, as JSON-compatible data."""

    def loss(self, step: int, loss: float) -> None:
        """Receive the loss of a step."""

    def alert(self, alert: Alert) -> None:
        """Receive an alert."""

    def close(self) -> None:
        """Release resources; nothing more will come."""


class Sinks(Sink):
    """Several sinks as one; a failing sink is reported once and then disabled.

    Args:
        sinks: receive everything.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self.sinks = list(sinks)

    def start(self, facts: dict[str, Any]) -> None:
        """Pass on the run's metadata."""
        self._for_each(lambda sink: sink.start(facts))

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Pass on the readings of a step."""
        self._for_each(lambda sink: sink.readings(rows))

    def loss(self, step: int, loss: float) -> None:
        """Pass on a loss."""
        self._for_each(lambda sink: sink.loss(step, loss))

    def alert(self, alert: Alert) -> None:
        """Pass on an alert."""
        self._for_each(lambda sink: sink.alert(alert))

    def close(self) -> None:
        """Close all sinks."""
        self._for_each(lambda sink: sink.close())
        self.sinks = []

    def _for_each(self, call: Callable[[Sink], None]) -> None:
        for sink in [*self.sinks]:
            try:
                call(sink)
            except Exception as error:  # a full disk or a lost network must not stop the run
                self.sinks.remove(sink)
                warn(
                    f"{type(sink).__name__} failed and is disabled ({type(error).__name__}: {error})",
                    stacklevel=4,
                )

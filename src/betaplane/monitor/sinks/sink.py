"""What takes alarms, readings and losses; and several of them as one, of which none can stop a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from warnings import warn

from betaplane.monitor.alert import Alert


class Sink:
    """Somewhere to write; a kind of its own overrides what it takes.

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
        """Take what a reader needs to know of the run, as `start_facts` gives it."""

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Take the readings of one step, one a tensor, as plain words and numbers."""

    def loss(self, step: int, loss: float) -> None:
        """Take the loss of a step."""

    def alert(self, alert: Alert) -> None:
        """Take an alarm."""

    def close(self) -> None:
        """Nothing more will come."""


class Sinks(Sink):
    """Several sinks as one; one that fails is told once, and gets nothing more.

    Args:
        sinks: where everything goes.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self.sinks = list(sinks)

    def start(self, facts: dict[str, Any]) -> None:
        """Tell each what the run is."""
        self._each(lambda sink: sink.start(facts))

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Give each the readings of a step."""
        self._each(lambda sink: sink.readings(rows))

    def loss(self, step: int, loss: float) -> None:
        """Give each a loss."""
        self._each(lambda sink: sink.loss(step, loss))

    def alert(self, alert: Alert) -> None:
        """Give each an alarm."""
        self._each(lambda sink: sink.alert(alert))

    def close(self) -> None:
        """Close each."""
        self._each(lambda sink: sink.close())
        self.sinks = []

    def _each(self, give: Callable[[Sink], None]) -> None:
        for sink in [*self.sinks]:
            try:
                give(sink)
            except Exception as error:  # a full disk or a lost network is no reason to lose a run
                self.sinks.remove(sink)
                name = type(sink).__name__
                warn(
                    f"{name} failed and gets nothing more ({type(error).__name__}: {error})",
                    stacklevel=4,
                )

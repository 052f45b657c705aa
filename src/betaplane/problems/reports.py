"""Interfaces by which a training function reports its losses, and means over windows of steps."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

POINTS = 100  # of a loss curve, at most


class Report(Protocol):
    """Receives the losses of a run while it is trained."""

    varied: tuple[str, ...]  # the settings that differ between runs, which must have an effect

    def expect(self, losses: int) -> None:
        """Set the number of losses of a whole run, if it is known."""
        ...

    def loss(self, value: Any) -> bool:
        """Record the next loss; return whether the verdict of the run is certain."""
        ...

    def validation(self, value: Any) -> None:
        """Record a value of the held-out metric."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A training function that calls a report, because its loop belongs to a library."""

    def run(self, settings: dict[str, float], seed: int, report: Report) -> None:
        """Train, until the end or until the report returns that the verdict is certain."""
        ...


def reporting(train: Any) -> Reporting | None:
    """The function, or the one that it wraps, if it calls a report."""
    while not isinstance(train, Reporting):
        if not hasattr(train, "__wrapped__"):
            return None
        train = train.__wrapped__
    return train


class StepLosses:
    """Report the mean loss of each window of steps, so that a curve has at most `POINTS` points.

    Args:
        report: receives the means.
        steps: steps of a whole run; None if unknown: every step is reported.
    """

    def __init__(self, report: Report, steps: int | None) -> None:
        self.report = report
        self.length = -(-steps // POINTS) if steps else 1
        self.window: list[float | Tensor] = []
        if steps:
            report.expect(-(-steps // self.length))

    def step(self, loss: float | Tensor) -> bool:
        """Record the loss of a step; return whether the verdict of the run is certain."""
        self.window.append(loss)
        return len(self.window) == self.length and self.end()

    def end(self) -> bool:
        """Report the steps since the last report, if any."""
        if not self.window:
            return False
        mean = sum(float(loss) for loss in self.window) / len(self.window)
        self.window = []
        return self.report.loss(mean)

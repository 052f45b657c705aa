"""A report that keeps everything and stops nothing."""

from __future__ import annotations

from typing import Any


class LossList(list[float]):
    """The losses of a run, as a report of which no verdict is certain."""

    varied: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.validations: list[float] = []

    def expect(self, losses: int) -> None:
        """Ignore the number of losses."""

    def loss(self, value: Any) -> bool:
        """Keep a loss."""
        self.append(float(value))
        return False

    def validation(self, value: Any) -> None:
        """Keep a value of the held-out metric."""
        self.validations.append(float(value))

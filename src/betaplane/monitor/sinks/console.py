"""Alarms on the terminal."""

from __future__ import annotations

from typing import IO

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.sink import Sink


class Console(Sink):
    """Alarms on the terminal, in colour where there is colour.

    Args:
        file: where to write; standard error where None.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        # here, so that nobody waits for it who does not watch
        from rich.console import Console as Rich

        self.rich = Rich(file=file, stderr=file is None, highlight=False)

    def alert(self, alert: Alert) -> None:
        """Write an alarm."""
        from rich.markup import escape

        head, _, rest = str(alert).partition(". ")
        self.rich.print(f"[bold red]{escape(head)}[/bold red]. {escape(rest)}", soft_wrap=True)

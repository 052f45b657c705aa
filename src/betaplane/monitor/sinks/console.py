"""Console: alerts on the terminal."""

from __future__ import annotations

from typing import IO

from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.sink import Sink


class Console(Sink):
    """Print alerts on the terminal, in color if it supports color.

    Args:
        file: where to print; standard error by default.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        # imported lazily: only needed by runs that are watched
        from rich.console import Console as Rich

        self.rich = Rich(file=file, stderr=file is None, highlight=False)

    def alert(self, alert: Alert) -> None:
        """Print an alert."""
        from rich.markup import escape

        head, _, rest = str(alert).partition(". ")
        self.rich.print(f"[bold red]{escape(head)}[/bold red]. {escape(rest)}", soft_wrap=True)

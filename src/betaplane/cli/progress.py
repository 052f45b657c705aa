"""A progress bar that only appears where there is something to wait for."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import Progress

PATIENCE = 2.0  # seconds


class DelayedProgress(AbstractContextManager["DelayedProgress"]):
    """Told done and of, it shows a bar on a terminal once two seconds have passed."""

    def __init__(self, what: str) -> None:
        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.task, self.began, self.shown = self.bar.add_task(what), time.monotonic(), False

    def __call__(self, done: int, of: int) -> None:
        """So far is done."""
        self.bar.update(self.task, completed=done, total=of)
        if not self.shown and time.monotonic() - self.began > PATIENCE:
            self.shown = True
            self.bar.start()

    def __exit__(self, *raised: object) -> None:
        if self.shown:  # stop() alone writes an empty line
            self.bar.stop()

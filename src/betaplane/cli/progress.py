"""A progress bar that appears only if the work takes longer than two seconds."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import Progress

DELAY_SECONDS = 2.0


class DelayedProgress(AbstractContextManager["DelayedProgress"]):
    """A callback `progress(done, total)` that shows a bar on a terminal after a delay."""

    def __init__(self, description: str) -> None:
        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task(description)
        self.start = time.monotonic()
        self.shown = False

    def __call__(self, done: int, total: int) -> None:
        """Update the bar, and show it if the delay has passed."""
        self.bar.update(self.task, completed=done, total=total)
        if not self.shown and time.monotonic() - self.start > DELAY_SECONDS:
            self.shown = True
            self.bar.start()

    def __exit__(self, *exception: object) -> None:
        if self.shown:  # stop() alone writes an empty line
            self.bar.stop()

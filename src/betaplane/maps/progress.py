"""A progress display for calls from Python: a bar in terminals, a rewritten line in notebooks."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.maps.scheduler import Progress

DELAY_SECONDS = 2.0  # a shorter call shows nothing


class _Display(Protocol):
    def update(self, done: int, wanted: int, rate: float) -> None: ...

    def close(self) -> None: ...


class _TerminalBar:
    """A bar on stderr; on a terminal it disappears when it is closed."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        console = Console(stderr=True)
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self.bar = Progress(
            *columns, TimeElapsedColumn(), console=console, transient=console.is_terminal
        )
        self.task = self.bar.add_task(what, rate="")
        self.bar.start()

    def update(self, done: int, wanted: int, rate: float) -> None:
        self.bar.update(self.task, completed=done, total=wanted, rate=f"{rate:.1f}/s")

    def close(self) -> None:
        self.bar.stop()


class _NotebookLine:
    """One line of output that is rewritten at every update."""

    def __init__(self, what: str) -> None:
        from IPython.display import display  # pyright: ignore[reportMissingImports]  # only called inside IPython

        self.what = what
        self.handle: Any = display(_plain(what), raw=True, display_id=True)

    def update(self, done: int, wanted: int, rate: float) -> None:
        self.handle.update(_plain(f"{self.what}: {done} of {wanted}, {rate:.1f}/s"), raw=True)

    def close(self) -> None:
        pass


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}


def in_notebook() -> bool:
    """Whether the interpreter is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class shown_progress(AbstractContextManager["shown_progress"]):  # used like a function
    """Show the progress of a call once it has taken two seconds.

    Args:
        what: what is counted ("runs").
        show: whether to show it. None: in terminals and notebooks only.

    Raises:
        BadInput: `show` is not True, False or None.

    Example:
        >>> with shown_progress("runs", show=False) as bar:
        ...     bar.display is None
        True
    """

    def __init__(self, what: str, show: bool | None) -> None:
        if show not in (None, True, False):
            raise BadInput(
                "progress is of the wrong type",
                value=show,
                allowed="True, False or None",
                where="progress",
                instead="progress=True",
            )
        self.what = what
        self.show = in_notebook() or sys.stderr.isatty() if show is None else show
        self.began = time.monotonic()
        self.display: _Display | None = None

    def watch(self, progress: Progress) -> None:
        """Update the display; pass this as `watch` to `run_plan`."""
        if not self.show or time.monotonic() - self.began < DELAY_SECONDS:
            return
        if self.display is None:
            self.display = _NotebookLine(self.what) if in_notebook() else _TerminalBar(self.what)
        self.display.update(progress.done, progress.wanted, progress.rate)

    def __exit__(self, *raised: object) -> None:
        if self.display is not None:
            self.display.close()

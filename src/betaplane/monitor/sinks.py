"""Where alarms and readings go: the console, and a file that survives a kill."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert


class Sink(Protocol):
    """What takes alarms and readings."""

    def alert(self, alert: Alert) -> None:
        """Take an alarm."""

    def row(self, row: dict[str, Any]) -> None:
        """Take a reading, as plain words and numbers."""

    def close(self) -> None:
        """Nothing more will come."""


class Console:
    """Alarms on the terminal, in colour where there is colour.

    Args:
        file: where to write; standard error where None.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        from rich.console import Console as Rich  # here, so that nobody waits for it who does not watch

        self.rich = Rich(file=file, stderr=file is None, highlight=False)

    def alert(self, alert: Alert) -> None:
        """Write an alarm."""
        from rich.markup import escape

        head, _, rest = str(alert).partition(". ")
        self.rich.print(f"[bold red]{escape(head)}[/bold red]. {escape(rest)}", soft_wrap=True)

    def row(self, row: dict[str, Any]) -> None:
        """Readings are not shown."""

    def close(self) -> None:
        """Nothing is open."""


class JsonLines:
    """A file of one JSON object a line; alarms are on the disk before training goes on.

    An existing file is continued, and a line that a kill left half written is cut off first.

    Args:
        path: the file; its folder must exist.

    Raises:
        BadInput: the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     lines = JsonLines(f"{folder}/run.jsonl")
        ...     lines.row({"step": 1, "snr": float("inf")})
        ...     lines.close()
        ...     read_lines(f"{folder}/run.jsonl")
        [{'kind': 'reading', 'step': 1, 'snr': None}]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            _cut(Path(path))
            self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            told = f"The file cannot be written ({error.strerror})"
            raise BadInput(told, value=str(path), where="watch", instead='path="run.jsonl"') from error

    def alert(self, alert: Alert) -> None:
        """Write an alarm, through to the disk."""
        self._write({"kind": "alert", **alert.row()})
        os.fsync(self.file.fileno())

    def row(self, row: dict[str, Any]) -> None:
        """Write a reading."""
        self._write({"kind": "reading", **row})

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _write(self, row: dict[str, Any]) -> None:
        plain = {name: None if _unwritable(value) else value for name, value in row.items()}
        self.file.write(json.dumps(plain) + "\n")
        self.file.flush()  # a killed process loses no line that was written


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line that is half written is left out.

    Args:
        path: as `JsonLines` wrote it.
    """
    return list(_rows(Path(path)))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _cut(path: Path) -> None:
    """Cut off what follows the last line end."""
    if path.exists():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(path, end)


def _unwritable(value: object) -> bool:
    """JSON knows no NaN and no infinity."""
    return isinstance(value, float) and not math.isfinite(value)

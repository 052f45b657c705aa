"""A file of JSON lines that survives a kill, and does not grow for ever."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.parts import mend, parts, roll, thin
from betaplane.monitor.sinks.sink import Sink

LIMIT = 8 * 2**20  # bytes of a file: two of them become one in a fraction of a second, for which training waits
FILES = 16
HELD = 64  # losses in memory at most
DIGITS = 7  # of readings and losses: as many as float32 has


class JsonLines(Sink):
    """A file of one JSON object a line; alarms are on the disk before training goes on.

    Each line has a "kind": "start" with what a reader needs, "reading" of a tensor, "losses" of some steps, "alert".
    An existing file is continued, and a line that a kill left half written is cut off first. A full file run.jsonl
    becomes run.1.jsonl, the next one run.2.jsonl; where there are too many, the two oldest become one in which steps
    are farther apart. Alarms are never lost.

    Args:
        path: the file; its folder must exist.
        limit: bytes of a file, >= 4096; alarms may exceed it.
        files: how many there are at most, >= 3.

    Raises:
        BadInput: the file cannot be written, or a number is out of range.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from betaplane.monitor import read_lines
        >>> with TemporaryDirectory() as folder:
        ...     lines = JsonLines(f"{folder}/run.jsonl")
        ...     lines.loss(1, 0.5)
        ...     lines.readings([{"layer": "weight", "step": 1, "snr": float("inf")}])
        ...     lines.close()
        ...     [row["kind"] for row in read_lines(f"{folder}/run.jsonl")]
        ['losses', 'reading']
    """

    def __init__(self, path: str | os.PathLike[str], limit: int = LIMIT, files: int = FILES) -> None:
        _check(limit, files)
        self.path, self.limit, self.files = Path(path), limit, files
        self.steps: list[int] = []
        self.losses: list[float] = []
        try:
            mend(self.path)
            self._open()
        except OSError as error:
            told = f"The file cannot be written ({error.strerror})"
            raise BadInput(told, value=str(path), where="watch", instead='path="run.jsonl"') from error

    def start(self, facts: dict[str, Any]) -> None:
        """Write what the run is."""
        self._write([_line({"kind": "start", **facts})])

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Write readings, to six digits, and the losses since the last ones."""
        self._write([*self._taken(), *map(_reading, rows)])

    def loss(self, step: int, loss: float) -> None:
        """Keep a loss for the next line; of several in one step the last."""
        if self.steps[-1:] == [step]:
            self.steps, self.losses = self.steps[:-1], self.losses[:-1]
        self.steps.append(step)
        self.losses.append(float(f"{loss:.{DIGITS}g}"))
        if len(self.steps) > HELD:
            self._write(self._taken())

    def alert(self, alert: Alert) -> None:
        """Write an alarm, through to the disk."""
        self._write([*self._taken(), _line({"kind": "alert", **alert.row()})])
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file."""
        if not self.file.closed:
            self._write(self._taken())
            self.file.close()

    def _taken(self) -> list[str]:
        """The losses that are in memory, as at most one line."""
        row = {"kind": "losses", "steps": self.steps, "values": self.losses}
        self.steps, self.losses = [], []
        return [_line(row)] if row["steps"] else []

    def _write(self, lines: list[str]) -> None:
        text = "".join(lines)
        if self.size > 0 and self.size + len(text) > self.limit:
            self._roll()
        self.file.write(text)
        self.file.flush()  # a killed process loses no line that was written
        self.size += len(text)  # json writes ASCII

    def _roll(self) -> None:
        self.file.close()
        roll(self.path)
        self._open()
        while len(old := parts(self.path)) > self.files - 1:
            thin(self.path, old[0], old[1], self.limit)

    def _open(self) -> None:
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        self.size = self.path.stat().st_size


def _check(limit: int, files: int) -> None:
    for name, value, least, usual in (("limit", limit, 4096, LIMIT), ("files", files, 3, FILES)):
        if not value >= least:
            told, allowed = f"{name} is out of range", f"[{least}, inf)"
            raise BadInput(told, value=value, allowed=allowed, where="JsonLines", instead=f"{name}={usual}")


def _line(row: dict[str, Any]) -> str:
    return json.dumps(_plain(row)) + "\n"


def _reading(row: dict[str, Any]) -> str:
    """The line of a reading, numbers to as many digits as are read; there are thousands, so it is put together here."""
    told = "".join(f', "{name}": {_number(value)}' for name, value in row.items())
    return f'{{"kind": "reading"{told}}}\n'


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}" if math.isfinite(value) else "null"
    return json.dumps(value)


def _plain(value: Any) -> Any:
    """A value as JSON knows it: no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value

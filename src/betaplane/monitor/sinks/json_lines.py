"""A file of JSON lines that survives a kill, and does not grow for ever."""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import finalize

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert
from betaplane.monitor.sinks.rotation import mend, parts, roll, thin
from betaplane.monitor.sinks.sink import Sink
from betaplane.text import json_safe

# bytes of a file: two of them become one in a fraction of a second, for which training waits
LIMIT = 8 * 2**20
FILES = 16
HELD = 64  # losses in memory at most
APART = 0.1  # seconds for which losses are held: of slower steps each is written as it comes
DIGITS = 7  # of readings and losses: as many as float32 has

_WRITTEN: set[Path] = set()  # files that this process writes


class JsonLines(Sink):
    """A file of one JSON object a line; alarms are on the disk before training goes on.

    Each line has a "kind": "start" with what a reader needs, "reading" of a tensor, "losses" of some steps, "alert".
    A kill costs at most the losses of the last 0.1 s, an end without `close` nothing. An existing record is continued,
    and a line that a kill left half written is cut off first. A full file run.jsonl becomes run.jsonl.part1, the next
    one run.jsonl.part2; where there are too many, the two oldest become one in which steps are farther apart. Alarms
    are never lost.

    Args:
        path: the file; its folder must exist. It is new, empty, or a record that nobody else writes.
        limit: bytes of a file, >= 4096; alarms may exceed it.
        files: how many there are at most, >= 3.

    Raises:
        BadInput: the file cannot be written, holds something else, or is written by another watcher of this process;
            or a number is out of range.

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

    def __init__(
        self, path: str | os.PathLike[str], limit: int = LIMIT, files: int = FILES
    ) -> None:
        _check(limit, files)
        try:
            self.record = _Record(Path(path), limit, files)
        except OSError as error:
            told = f"The file cannot be written ({error.strerror})"
            raise BadInput(
                told, value=str(path), where="watch", instead='path="run.jsonl"'
            ) from error
        self._end = finalize(self, _leave, self.record)

    def start(self, facts: dict[str, Any]) -> None:
        """Write what the run is."""
        self.record.write([_line({"kind": "start", **facts})])

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Write readings, to seven digits, and the losses since the last ones."""
        self.record.write(map(_reading, rows))

    def loss(self, step: int, loss: float) -> None:
        """Write a loss, or hold it for a moment; of several in one step the last counts."""
        self.record.hold(step, float(f"{loss:.{DIGITS}g}"))

    def alert(self, alert: Alert) -> None:
        """Write an alarm, through to the disk."""
        self.record.write([_line({"kind": "alert", **alert.row()})])
        os.fsync(self.record.file.fileno())

    def close(self) -> None:
        """Write what is held and close the file, which another watcher may then continue."""
        if self._end.detach():
            self.record.close()


class _Record:
    """The files of a record as one that lines are added to; apart from its sink, which it outlives
    at an exit.
    """

    def __init__(self, path: Path, limit: int, files: int) -> None:
        self.path, self.limit, self.files = path, limit, files
        self.held: dict[int, float] = {}
        self.due = 0.0
        self.name = _free(path)
        mend(path)
        self._open()
        _WRITTEN.add(self.name)

    def hold(self, step: int, loss: float) -> None:
        """Take a loss for the next line, which is written at once where the last one is some time
        ago.
        """
        self.held[step] = loss
        if len(self.held) > HELD or perf_counter() > self.due:
            self.write(())

    def write(self, lines: Iterable[str]) -> None:
        """Add lines, behind one of the losses that are held."""
        text = "".join([*self._losses(), *lines])
        if self.size > 0 and self.size + len(text) > self.limit:
            self._roll()
        self.file.write(text)
        self.file.flush()  # a killed process loses no line that was written
        self.size += len(text)  # json writes ASCII
        self.due = perf_counter() + APART

    def close(self) -> None:
        """Write what is held, and let go of the file."""
        _WRITTEN.discard(self.name)
        if not self.file.closed:
            with self.file:
                self.write(())

    def _losses(self) -> list[str]:
        """The losses that were held, as at most one line."""
        held, self.held = self.held, {}
        return (
            [_line({"kind": "losses", "steps": [*held], "values": [*held.values()]})]
            if held
            else []
        )

    def _roll(self) -> None:
        self.file.close()
        roll(self.path)
        self._open()
        while len(old := parts(self.path)) > self.files - 1:
            thin(self.path, old[0], old[1], self.limit)

    def _open(self) -> None:
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        self.size = self.path.stat().st_size


def _leave(record: _Record) -> None:
    """Close where no one is left to be told that it failed: at an exit, or when the sink is gone."""
    with suppress(OSError):
        record.close()


def _free(path: Path) -> Path:
    """The file's one name, of which no watcher of this process may write."""
    name = path.resolve()
    if name in _WRITTEN:
        # an optimizer and its watcher hold each other, after a run that did not close too
        gc.collect()
    if name in _WRITTEN:
        told, allowed = (
            "Another watcher of this process writes the file",
            "a file each, or this one once it is closed",
        )
        instead = f'path="{path.with_name(f"{path.stem}-1{path.suffix}")}"'
        raise BadInput(told, value=str(path), allowed=allowed, where="watch", instead=instead)
    return name


def _check(limit: int, files: int) -> None:
    for name, value, least, usual in (("limit", limit, 4096, LIMIT), ("files", files, 3, FILES)):
        if not value >= least:
            told, allowed = f"{name} is out of range", f"[{least}, inf)"
            raise BadInput(
                told, value=value, allowed=allowed, where="JsonLines", instead=f"{name}={usual}"
            )


def _line(row: dict[str, Any]) -> str:
    return json.dumps(json_safe(row)) + "\n"


def _reading(row: dict[str, Any]) -> str:
    """The line of a reading, numbers to as many digits as are read; there are thousands, so it is
    put together here.
    """
    told = "".join(f', "{name}": {_number(value)}' for name, value in row.items())
    return f'{{"kind": "reading"{told}}}\n'


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}" if math.isfinite(value) else "null"
    return json.dumps(value)

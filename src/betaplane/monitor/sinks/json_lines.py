"""JsonLines: a file of JSON lines that survives a kill and stays below a size limit."""

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
from betaplane.monitor.sinks.rotation import full_files, merge, repair, rotate
from betaplane.monitor.sinks.sink import Sink
from betaplane.text import json_safe

# two full files are merged in a fraction of a second, during which training waits
MAX_FILE_BYTES = 8 * 2**20
MAX_FILES = 16
MAX_PENDING_LOSSES = 64
MAX_PENDING_SECONDS = 0.1  # losses of slower steps are written immediately
DIGITS = 7  # of readings and losses: the precision of float32

_WRITTEN: set[Path] = set()  # files that this process writes


class JsonLines(Sink):
    """A file with one JSON object per line; alerts reach the disk before training continues.

    The "kind" of a line is "start" (metadata), "reading" (of one tensor), "losses" (of some steps)
    or "alert". A kill loses at most the losses of the last 0.1 s; an exit without `close` loses
    nothing. An existing record is continued, after removing a line that a kill left incomplete. A
    full file run.jsonl becomes run.jsonl.part1, the next one run.jsonl.part2. If there are too
    many, the two oldest are merged into one with fewer steps. Alerts are never lost.

    Args:
        path: the file, in an existing folder: new, empty, or a record that nothing else writes.
        limit: maximum bytes per file, >= 4096; alerts may exceed it.
        files: maximum number of files, >= 3.

    Raises:
        BadInput: the file cannot be written, has other content, or is written by another watcher of
            this process; or a number is out of range.

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
        self, path: str | os.PathLike[str], limit: int = MAX_FILE_BYTES, files: int = MAX_FILES
    ) -> None:
        _check(limit, files)
        try:
            self.record = _Record(Path(path), limit, files)
        except OSError as error:
            raise BadInput(
                f"The file cannot be written ({error.strerror})",
                value=str(path),
                where="watch",
                instead='path="run.jsonl"',
            ) from error
        self._finalizer = finalize(self, _close_quietly, self.record)

    def start(self, facts: dict[str, Any]) -> None:
        """Write the run's metadata."""
        self.record.write([_line({"kind": "start", **facts})])

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Write readings to seven digits, after the pending losses."""
        self.record.write(map(_reading_line, rows))

    def loss(self, step: int, loss: float) -> None:
        """Write a loss, possibly a moment later; the last of several in one step counts."""
        self.record.add_loss(step, float(f"{loss:.{DIGITS}g}"))

    def alert(self, alert: Alert) -> None:
        """Write an alert, and wait until it is on disk."""
        self.record.write([_line({"kind": "alert", **alert.row()})])
        os.fsync(self.record.file.fileno())

    def close(self) -> None:
        """Write pending losses and close the file, which another watcher may then continue."""
        if self._finalizer.detach():
            self.record.close()


class _Record:
    """The files of a record, to which lines are added; it outlives its sink at exit."""

    def __init__(self, path: Path, limit: int, files: int) -> None:
        self.path = path
        self.limit = limit
        self.files = files
        self.pending: dict[int, float] = {}  # losses by step
        self.write_at = 0.0  # time from which a loss is written immediately
        self.name = _claim(path)
        repair(path)
        self._open()
        _WRITTEN.add(self.name)

    def add_loss(self, step: int, loss: float) -> None:
        """Add a loss to the pending ones; write them if the last line is some time ago."""
        self.pending[step] = loss
        if len(self.pending) > MAX_PENDING_LOSSES or perf_counter() > self.write_at:
            self.write(())

    def write(self, lines: Iterable[str]) -> None:
        """Write lines, after one of the pending losses."""
        text = "".join([*self._losses(), *lines])
        if self.size > 0 and self.size + len(text) > self.limit:
            self._rotate()
        self.file.write(text)
        self.file.flush()  # a killed process loses no line that was written
        self.size += len(text)  # json writes ASCII
        self.write_at = perf_counter() + MAX_PENDING_SECONDS

    def close(self) -> None:
        """Write pending losses, and release the file."""
        _WRITTEN.discard(self.name)
        if not self.file.closed:
            with self.file:
                self.write(())

    def _losses(self) -> list[str]:
        """The pending losses, as at most one line."""
        losses, self.pending = self.pending, {}
        if not losses:
            return []
        return [_line({"kind": "losses", "steps": [*losses], "values": [*losses.values()]})]

    def _rotate(self) -> None:
        self.file.close()
        rotate(self.path)
        self._open()
        while len(old := full_files(self.path)) > self.files - 1:
            merge(self.path, old[0], old[1], self.limit)

    def _open(self) -> None:
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        self.size = self.path.stat().st_size


def _close_quietly(record: _Record) -> None:
    """Close a record at exit, or when its sink is gone; errors are ignored."""
    with suppress(OSError):
        record.close()


def _claim(path: Path) -> Path:
    """The file's resolved name, which no other watcher of this process may write."""
    name = path.resolve()
    if name in _WRITTEN:
        # an optimizer and its watcher form a cycle, also after a run that did not call close()
        gc.collect()
    if name in _WRITTEN:
        other = path.with_name(f"{path.stem}-1{path.suffix}")
        raise BadInput(
            "Another watcher of this process writes the file",
            value=str(path),
            allowed="a different file, or this one after close()",
            where="watch",
            instead=f'path="{other}"',
        )
    return name


def _check(limit: int, files: int) -> None:
    for name, value, least, default in (
        ("limit", limit, 4096, MAX_FILE_BYTES),
        ("files", files, 3, MAX_FILES),
    ):
        if not value >= least:
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=f"[{least}, inf)",
                where="JsonLines",
                instead=f"{name}={default}",
            )


def _line(row: dict[str, Any]) -> str:
    return json.dumps(json_safe(row)) + "\n"


def _reading_line(row: dict[str, Any]) -> str:
    """The line of a reading; formatted here for speed, because there are thousands."""
    fields = "".join(f', "{name}": {_json_value(value)}' for name, value in row.items())
    return f'{{"kind": "reading"{fields}}}\n'


def _json_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}" if math.isfinite(value) else "null"
    return json.dumps(value)

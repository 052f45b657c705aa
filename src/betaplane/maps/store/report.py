"""The progress report of a map: a small file next to its store.

SQLite's WAL needs memory that processes share, so only the machine that computes a map may open its
store. Every machine that sees the files can read the report.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

WRITE_SECONDS = 2.0  # between two reports
FRESH_SECONDS = 90.0  # without a report, after which the process counts as ended


@dataclass(frozen=True)
class Report:
    """How far a map that is computed now is."""

    problem: str
    executor: str  # where the runs execute
    done: int = 0  # finished runs
    wanted: int = 0  # runs requested so far
    rate: float = 0.0  # runs per second
    lost: int = 0  # workers
    host: str = ""
    pid: int = 0
    written: float = 0.0  # seconds since the epoch

    @property
    def is_running(self) -> bool:
        """Whether the process of the map seems to live."""
        return time.time() - self.written < FRESH_SECONDS

    @property
    def is_elsewhere(self) -> bool:
        """Whether another machine computes the map now."""
        return self.is_running and self.host != socket.gethostname()


def report_path(store: Path) -> Path:
    """The file of a store's report."""
    return store.with_name(f"{store.name}.progress.json")


def read_report(store: Path) -> Report | None:
    """The last report, or None if there is none or it is damaged."""
    try:
        report = Report(**json.loads(report_path(store).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return report if _is_valid(report) else None


def _is_valid(report: Report) -> bool:
    """Whether each value is text or a number, as it should be."""
    values, expected = asdict(report), asdict(Report("", ""))
    texts = [isinstance(value, str) for value in expected.values()]
    types = [str if is_text else (int, float) for is_text in texts]
    return all(map(isinstance, values.values(), types))


class Reporter:
    """Writes the report of a map while it is computed, and removes it at the end, also after an
    error. A report that cannot be written is skipped.

    Args:
        store: the store's file.
        problem: its name.
        executor: where the runs execute.
    """

    def __init__(self, store: Path, problem: str, executor: str) -> None:
        self.path = report_path(store)
        host, pid = socket.gethostname(), os.getpid()
        self.report = Report(problem, executor, host=host, pid=pid)
        self._next = 0.0

    def update(self, **numbers: Any) -> None:
        """Take new numbers, and write them if the last report is old enough."""
        self.report = replace(self.report, **numbers)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + WRITE_SECONDS
            self._write()

    def _write(self) -> None:
        self.report = replace(self.report, written=time.time())
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(asdict(self.report)))
            os.replace(part, self.path)
        except OSError:
            with suppress(OSError):
                part.unlink()

    def __enter__(self) -> Self:
        self.update()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.path.unlink()

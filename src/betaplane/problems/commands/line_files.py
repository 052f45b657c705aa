"""Losses in a file that grows by lines: JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput
from betaplane.problems.commands.loss_values import parse_loss


class GrowingFile:
    """The complete lines of a file, as they are written.

    The file is opened by its path at each call, so it may also be replaced by a longer one that
    begins with the same bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0  # complete lines read so far
        self._offset = 0
        self._rest = b""

    def read(self, ended: bool) -> list[str]:
        """The complete lines since the last call; after the run ended, also a last one without a
        line end.
        """
        self._rest += self._new_bytes()
        *complete, self._rest = self._rest.split(b"\n")
        if ended and self._rest:
            complete, self._rest = [*complete, self._rest], b""
        self.lines += len(complete)
        return [line.decode("utf-8-sig", "replace").rstrip("\r") for line in complete]

    def _new_bytes(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._offset += len(data)
        return data


class JsonLines:
    """Losses in a field of JSON objects, one object per line.

    A field inside of an object is named by its path, "train.loss". Lines without the field are
    skipped.
    """

    def __init__(self, path: Path, field: str) -> None:
        self.file = GrowingFile(path)
        self.field = field
        self.fields: dict[str, None] = {}  # that were seen

    def read(self, ended: bool) -> list[float]:
        """The losses of the lines since the last call."""
        return [
            parse_loss(value, f"{self.file.path}, {self.field}")
            for line in self.file.read(ended)
            if line.strip()
            for value in self._values(line)
        ]

    def _values(self, line: str) -> Iterator[Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            what, where = "A line of the log is not JSON", str(self.file.path)
            raise BadInput(what, value=line[:80], allowed="JSON Lines", where=where) from None
        if isinstance(row, dict):
            self.fields |= dict.fromkeys(row)
            yield from field_values(row, self.field)

    def missing(self) -> str:
        """Why there are no losses."""
        return _missing(self.file, f"field {self.field!r}", self.fields)


def field_values(row: dict[str, Any], field: str) -> list[Any]:
    """The value of a field, which may be a path through objects; [] if there is none.

    Example:
        >>> field_values({"a.b": 1}, "a.b"), field_values({"a": {"b": 2}}, "a.b"), field_values({}, "a")
        ([1], [2], [])
    """
    if field in row:
        return [row[field]]
    head, _, rest = field.partition(".")
    inner = row.get(head)
    return field_values(inner, rest) if rest and isinstance(inner, dict) else []


class CsvFile:
    """Losses in a column of a CSV file with a header; rows without a value are skipped."""

    def __init__(self, path: Path, column: str) -> None:
        self.file = GrowingFile(path)
        self.column = column
        self.header: list[str] = []

    def read(self, ended: bool) -> list[float]:
        """The losses of the rows since the last call."""
        rows = csv.reader(self.file.read(ended))
        return [parse_loss(cell, f"{self.file.path}, {self.column}") for cell in self._cells(rows)]

    def _cells(self, rows: Iterator[list[str]]) -> Iterator[str]:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not self.header:
                self.header = cells
            elif self.column in self.header:
                index = self.header.index(self.column)
                if index < len(cells) and cells[index]:
                    yield cells[index]

    def missing(self) -> str:
        """Why there are no losses."""
        return _missing(self.file, f"column {self.column!r}", dict.fromkeys(self.header))


def _missing(file: GrowingFile, what: str, names: dict[str, None]) -> str:
    if not file.path.exists():
        return f"there is no file {str(file.path)!r}"
    if not file.lines:
        return f"{str(file.path)!r} is empty"
    return f"{str(file.path)!r} has no {what}, but: {', '.join(map(str, names)) or 'nothing'}"


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"The log cannot be read ({error.strerror})", value=str(path), where="loss")

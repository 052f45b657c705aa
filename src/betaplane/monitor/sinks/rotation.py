"""Files of one run's record: their names and order, rotation, and merging of the oldest."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput

Row = dict[str, Any]
THINNED_KINDS = ("reading", "losses")  # of rows whose steps may be dropped
LINE_PREFIXES = [
    b'{"kind": "%s"' % kind for kind in (b"start", b"reading", b"losses", b"alert", b"thinned")
]
UNFINISHED = ".half"  # suffix of a file that is still being written
READING = re.compile(rb'\{"kind": "reading", "layer": "(?:[^"\\]|\\.)*", "step": (\d+)[,}]')


def read_lines(path: str | os.PathLike[str]) -> list[Row]:
    """All lines of a record in order, from all its files; an incomplete line is skipped.

    Args:
        path: as given to `watch` or `JsonLines`.

    Raises:
        BadInput: there is no such file, or it has other content.
    """
    last = Path(path)
    if last.exists() and not last.is_file():  # reading a pipe or a device may never end
        raise BadInput(
            "This is not a regular file",
            value=str(path),
            allowed="a file that watch wrote",
            where="a record",
        )
    try:
        full = full_files(last)
        files = [*full, last] if last.exists() or not full else full
        return [row for file in files for row in _rows(file)]
    except OSError as error:
        raise BadInput(
            f"The record cannot be read ({error.strerror})",
            value=str(path),
            allowed="a file that watch wrote",
            where="a record",
            instead='betaplane.watch(optimizer, "run.jsonl")  # while it trains',
        ) from error


def full_files(path: Path) -> list[Path]:
    """The full files of a record, oldest first, without those that were merged into a later one."""
    numbered = sorted(
        (number, file) for file in path.parent.glob("*") if (number := _number(path, file))
    )
    merged = {old for number, file in numbered for old in range(_since(file, number), number)}
    return [file for number, file in numbered if number not in merged]


def rotate(path: Path) -> None:
    """Give the current file the next number."""
    numbers = [_number(path, file) for file in path.parent.glob("*")]
    os.replace(path, _numbered(path, max(numbers, default=0) + 1))


def merge(path: Path, old: Path, new: Path, limit: int) -> None:
    """Merge two files into one of at most `limit` bytes; a kill at any time loses nothing.

    Lines that are never dropped, such as alerts, may exceed the limit.

    Args:
        path: of the record.
        old: its oldest file, which is deleted.
        new: the next file, which then contains both.
        limit: bytes.
    """
    header = {"kind": "thinned", "since": _since(old, _number(path, old))}
    lines = [
        line
        for file in (old, new)
        for line in _complete_lines(file)
        if not line.startswith(b'{"kind": "thinned"')
    ]
    rows = [_parse_for_thinning(line) for line in lines]
    remaining = (
        lines[i] if row is rows[i] else _line(row)
        for i, row in thin_rows(rows, _remaining_share(rows, lines, limit))
    )
    unfinished = new.with_name(new.name + UNFINISHED)
    unfinished.write_bytes(b"".join([_line(header), *remaining]))
    os.replace(unfinished, new)
    old.unlink()


def thin_rows(rows: Sequence[Row], share: float) -> Iterator[tuple[int, Row]]:
    """Drop some steps of readings and losses, so that the rest is evenly spaced.

    All other rows stay.

    Args:
        rows: in order, one run after the other.
        share: of the steps that may stay, in (0, 1].

    Returns:
        The index of each row that stays, and the row; a new row if some of its losses were dropped.

    Example:
        >>> rows = [{"kind": "reading", "step": step} for step in (1, 10, 20, 30, 40)]
        >>> [row["step"] for _, row in thin_rows([*rows, {"kind": "alert", "step": 40}], share=0.6)]
        [1, 30, 40, 40]
    """
    rows_with_offsets = [*zip(rows, _step_offsets(rows), strict=True)]
    remaining = {
        kind: _evenly_spaced(
            {
                offset + step
                for row, offset in rows_with_offsets
                if row.get("kind") == kind
                for step in _steps(row)
            },
            share,
        )
        for kind in THINNED_KINDS
    }
    for i, (row, offset) in enumerate(rows_with_offsets):
        steps = remaining.get(row.get("kind", ""))
        stays = [steps is None or offset + step in steps for step in _steps(row)]
        if not all(stays) and row.get("kind") == "losses":
            row = {
                **row,
                "steps": [*compress(row["steps"], stays)],
                "values": [*compress(row["values"], stays)],
            }
        if any(stays):
            yield i, row


def repair(path: Path) -> None:
    """Repair what a kill left: an incomplete line, an unfinished file, or a file already merged.

    Args:
        path: of the record.

    Raises:
        BadInput: a file with such a name is not part of a record; then nothing is changed.
    """
    numbered = [
        file
        for file in path.parent.glob("*")
        if _number(path, file.with_name(file.name.removesuffix(UNFINISHED)))
    ]
    for file in numbered:
        _check(file)
    if path.exists():
        _check(path)
    live = full_files(path)
    for file in numbered:
        if file not in live:
            file.unlink()
    if path.exists():
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(path, end)


def _check(path: Path) -> None:
    """Raise BadInput unless a file is empty or starts as a record does, maybe with half a line."""
    with path.open("rb") as file:
        start = file.read(max(map(len, LINE_PREFIXES)))
    if not any(start.startswith(prefix) or prefix.startswith(start) for prefix in LINE_PREFIXES):
        other = path.with_name(f"{path.stem}-record.jsonl")
        raise BadInput(
            "The file is not the record of a run",
            value=str(path),
            allowed="a new file, or one that watch wrote",
            where="watch",
            instead=f'path="{other}"',
        )


def _rows(path: Path) -> Iterator[Row]:
    for i, line in enumerate(_complete_lines(path), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise BadInput(
                f"Line {i} is not part of a run's record",
                value=line[:40],
                allowed="a JSON object, as watch writes them",
                where=str(path),
                instead=f"tail {path}  # to see its content",
            )
        yield row


def _complete_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _parse_for_thinning(line: bytes) -> Row:
    """What thinning needs of a line; readings are not parsed, because training waits."""
    match = READING.match(line)
    return {"kind": "reading", "step": int(match[1])} if match else json.loads(line)


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _number(path: Path, file: Path) -> int:
    """The number of a record's full file; 0 for any other file."""
    digits = file.name.removeprefix(f"{path.name}.part")
    return int(digits) if digits.isdecimal() and file == _numbered(path, int(digits)) else 0


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.part{number}")


def _since(path: Path, number: int) -> int:
    """The number of the oldest file that was merged into this one."""
    with path.open("rb") as file:
        line = file.readline(200)
    is_merged = line.startswith(b'{"kind": "thinned"') and line.endswith(b"\n")
    return json.loads(line)["since"] if is_merged else number


def _step_offsets(rows: Iterable[Row]) -> Iterator[int]:
    """The number of steps in the runs before each row's run; each run counts from 1."""
    offset = last = 0
    for row in rows:
        if row.get("kind") == "start":
            offset = last
        last = max([last, *(offset + step for step in _steps(row))])
        yield offset


def _remaining_share(rows: Sequence[Row], lines: Sequence[bytes], limit: int) -> float:
    """The share of readings and losses that fits; they get at least a quarter of the file."""
    thinned_bytes = other_bytes = 0
    for row, line in zip(rows, lines, strict=True):
        if row.get("kind") in THINNED_KINDS:
            thinned_bytes += len(line)
        else:
            other_bytes += len(line)
    available = max(limit - other_bytes, limit / 4)
    return min(1.0, available / max(thinned_bytes, 1))


def _steps(row: Row) -> list[int]:
    return row["steps"] if row.get("kind") == "losses" else [row.get("step", 0)]


def _evenly_spaced(steps: set[int], share: float) -> set[int]:
    """A share of the steps, as evenly spaced as possible, with the first and the last."""
    if len(steps) < 3:
        return steps
    first, last = min(steps), max(steps)
    spacing = (last - first) / max(1.0, share * len(steps) - 1)
    remaining = {last}
    next_step = float(first)
    for step in sorted(steps):
        if step >= next_step:
            remaining.add(step)
            next_step = max(next_step + spacing, step + spacing / 2)
    return remaining

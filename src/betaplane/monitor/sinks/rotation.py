"""The files that one record of a run is spread over: their names, their order, and how the oldest
are thinned.
"""

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
THINNED = ("reading", "losses")  # kinds of rows
# of lines
HEADS = [
    b'{"kind": "%s"' % kind for kind in (b"start", b"reading", b"losses", b"alert", b"thinned")
]
HALF = ".half"  # behind the name of a file that is not finished
READING = re.compile(rb'\{"kind": "reading", "layer": "(?:[^"\\]|\\.)*", "step": (\d+)[,}]')


def read_lines(path: str | os.PathLike[str]) -> list[Row]:
    """All lines of a record in order, whatever number of files it is in; one that is half written
    is left out.

    Args:
        path: as given to `watch` or `JsonLines`.

    Raises:
        BadInput: there is no such file, or it holds something else.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe or a device may never end
        text = "This is not a regular file"
        raise BadInput(text, value=str(path), allowed="a file that watch wrote", where="a record")
    try:
        full, last = parts(Path(path)), Path(path)
        return [row for part in full for row in _rows(part)] + (
            [*_rows(last)] if last.exists() or not full else []
        )
    except OSError as error:
        told = f"The record cannot be read ({error.strerror})"
        allowed, instead = (
            "a file that watch wrote",
            'betaplane.watch(optimizer, "run.jsonl")  # while it trains',
        )
        raise BadInput(
            told, value=str(path), allowed=allowed, where="a record", instead=instead
        ) from error


def parts(path: Path) -> list[Path]:
    """The full files that belong to a record, the oldest first, without those that a later one has
    in it.
    """
    found = sorted(
        (number, each) for each in path.parent.glob("*") if (number := _number(path, each))
    )
    taken = {old for number, each in found for old in range(_since(each, number), number)}
    return [each for number, each in found if number not in taken]


def roll(path: Path) -> None:
    """Give the file that is being written the next number."""
    numbers = [_number(path, each) for each in path.parent.glob("*")]
    os.replace(path, _numbered(path, max(numbers, default=0) + 1))


def thin(path: Path, old: Path, new: Path, limit: int) -> None:
    """Make two files one, no larger than `limit` but for what is never left out; a kill at any time
    loses nothing.

    Args:
        path: of the record.
        old: its oldest file, which goes away.
        new: the next one, which then holds both.
        limit: bytes.
    """
    first = {"kind": "thinned", "since": _since(old, _number(path, old))}
    texts = [
        text
        for each in (old, new)
        for text in _texts(each)
        if not text.startswith(b'{"kind": "thinned"')
    ]
    rows = [_glance(text) for text in texts]
    left = (
        texts[i] if row is rows[i] else _text(row)
        for i, row in thinned(rows, _share(rows, texts, limit))
    )
    half = new.with_name(new.name + HALF)
    half.write_bytes(b"".join([_text(first), *left]))
    os.replace(half, new)
    old.unlink()


def thinned(rows: Sequence[Row], share: float) -> Iterator[tuple[int, Row]]:
    """Rows without some steps of readings and losses, so that those left are evenly spaced; all
    other rows.

    Args:
        rows: in order, one run after the other.
        share: of the steps that may stay, in (0, 1].

    Returns:
        The place of each row that stays, and the row; a new one where some of its losses went.

    Example:
        >>> rows = [{"kind": "reading", "step": step} for step in (1, 10, 20, 30, 40)]
        >>> [row["step"] for _, row in thinned([*rows, {"kind": "alert", "step": 40}], share=0.6)]
        [1, 30, 40, 40]
    """
    placed = [*zip(rows, _starts(rows), strict=True)]
    kept = {
        kind: _evenly(
            {
                start + step
                for row, start in placed
                if row.get("kind") == kind
                for step in _steps(row)
            },
            share,
        )
        for kind in THINNED
    }
    for i, (row, start) in enumerate(placed):
        here = kept.get(row.get("kind", ""))
        left = [here is None or start + step in here for step in _steps(row)]
        if not all(left) and row.get("kind") == "losses":
            row = {
                **row,
                "steps": [*compress(row["steps"], left)],
                "values": [*compress(row["values"], left)],
            }
        if any(left):
            yield i, row


def mend(path: Path) -> None:
    """Repair what a kill left: half a line, a file that was not finished, one that is a part of a
    later one.

    Args:
        path: of the record.

    Raises:
        BadInput: a file of such a name is none of a record; then nothing is changed.
    """
    numbered = [
        each
        for each in path.parent.glob("*")
        if _number(path, each.with_name(each.name.removesuffix(HALF)))
    ]
    for each in [*numbered, *([path] if path.exists() else [])]:
        _check(each)
    live = parts(path)
    for each in numbered:
        if each not in live:
            each.unlink()
    if path.exists():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(path, end)


def _check(path: Path) -> None:
    """Refuse a file that is neither empty nor begins as a record does, be it with half a line."""
    with path.open("rb") as file:
        begin = file.read(max(map(len, HEADS)))
    if not any(begin.startswith(head) or head.startswith(begin) for head in HEADS):
        told, allowed = (
            "The file holds something else than a run's record",
            "a new file, or one that watch wrote",
        )
        instead = f'path="{path.with_name(f"{path.stem}-record.jsonl")}"'
        raise BadInput(told, value=str(path), allowed=allowed, where="watch", instead=instead)


def _rows(path: Path) -> Iterator[Row]:
    for i, text in enumerate(_texts(path), start=1):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            told = f"Line {i} is none of a run's record"
            allowed, instead = (
                "a JSON object, as watch writes them",
                f"tail {path}  # to see what it holds",
            )
            raise BadInput(told, value=text[:40], allowed=allowed, where=str(path), instead=instead)
        yield row


def _texts(path: Path) -> list[bytes]:
    """The lines of a file that are whole."""
    return [text for text in path.read_bytes().splitlines(keepends=True) if text.endswith(b"\n")]


def _glance(text: bytes) -> Row:
    """What thinning asks of a line; of readings, which are many, without parsing it: training
    waits.
    """
    found = READING.match(text)
    return {"kind": "reading", "step": int(found[1])} if found else json.loads(text)


def _text(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _number(path: Path, each: Path) -> int:
    """The number of a full file of a record, 0 where it is none."""
    digits = each.name.removeprefix(f"{path.name}.part")
    return int(digits) if digits.isdecimal() and each == _numbered(path, int(digits)) else 0


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.part{number}")


def _since(path: Path, number: int) -> int:
    """The number of the oldest file that is in this one."""
    with path.open("rb") as file:
        line = file.readline(200)
    return (
        json.loads(line)["since"]
        if line.startswith(b'{"kind": "thinned"') and line.endswith(b"\n")
        else number
    )


def _starts(rows: Iterable[Row]) -> Iterator[int]:
    """For each row the sum of steps of the runs before it: each run counts from 1."""
    start = last = 0
    for row in rows:
        if row.get("kind") == "start":
            start = last
        last = max([last, *(start + step for step in _steps(row))])
        yield start


def _share(rows: Sequence[Row], texts: Sequence[bytes], limit: int) -> float:
    """The share of readings and losses that fits beside the rest; a quarter of the file is theirs
    in any case.
    """
    sizes = [(row.get("kind") in THINNED, len(text)) for row, text in zip(rows, texts, strict=True)]
    large, rest = (
        sum(size for is_thinned, size in sizes if is_thinned is which) for which in (True, False)
    )
    return min(1.0, max(limit - rest, limit / 4) / max(large, 1))


def _steps(row: Row) -> list[int]:
    return row["steps"] if row.get("kind") == "losses" else [row.get("step", 0)]


def _evenly(spots: set[int], share: float) -> set[int]:
    """The share of the spots that are farthest apart, with the first and the last."""
    if len(spots) < 3:
        return spots
    first, last = min(spots), max(spots)
    apart = (last - first) / max(1.0, share * len(spots) - 1)
    kept, next_ = {last}, float(first)
    for spot in sorted(spots):
        if spot >= next_:
            kept.add(spot)
            next_ = max(next_ + apart, spot + apart / 2)
    return kept

"""Losses in TensorBoard's event files, read without the tensorboard package.

An event file is a sequence of records: the length of an event (8 bytes), a checksum (4), the event,
a checksum (4). An event is a protocol buffer, of which these fields are read:

    Event    step = 2, summary = 5
    Summary  value = 1 (repeated)
    Value    tag = 1, simple_value = 2, tensor = 8
    Tensor   dtype = 1, tensor_content = 4, float_val = 5, double_val = 6
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATTERN = "*tfevents*"
HEADER_BYTES, CHECKSUM_BYTES = 12, 4
DT_DOUBLE = 2
Fields = Iterator[tuple[int, Any]]


@dataclass(frozen=True)
class Scalar:
    """One logged number."""

    step: int
    tag: str
    value: float


@dataclass
class EventFile:
    """One event file that may still be written."""

    path: Path
    offset: int = 0
    rest: bytes = field(default=b"", repr=False)

    def read(self) -> Iterator[Scalar]:
        """The scalars since the last call."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
            self.offset += len(data)
            self.rest += data
        while event := self._next_event():
            yield from _scalars(event)

    def _next_event(self) -> bytes:
        if len(self.rest) < HEADER_BYTES:
            return b""
        (length,) = struct.unpack_from("<Q", self.rest)
        end = HEADER_BYTES + length
        if len(self.rest) < end + CHECKSUM_BYTES:
            return b""
        event = self.rest[HEADER_BYTES:end]
        self.rest = self.rest[end + CHECKSUM_BYTES :]
        return event


class EventFiles:
    """The values of a tag in the event files of a folder and its subfolders.

    Files that existed before the run are not read.
    """

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder = folder
        self.tag = tag
        self.tags: set[str] = set()
        self._before = set(folder.rglob(PATTERN))
        self._files: dict[Path, EventFile] = {}

    def read(self, ended: bool) -> list[float]:
        """The values since the last call."""
        for path in sorted(self.folder.rglob(PATTERN)):
            if path not in self._before:
                self._files.setdefault(path, EventFile(path))
        scalars = [scalar for file in self._files.values() for scalar in file.read()]
        self.tags |= {scalar.tag for scalar in scalars}
        return [scalar.value for scalar in scalars if scalar.tag == self.tag]

    def missing(self) -> str:
        """Why there are no losses."""
        if not self._files:
            return f"there is no event file in {str(self.folder)!r}"
        tags = ", ".join(sorted(self.tags)) or "nothing"
        return f"the event files in {str(self.folder)!r} have no tag {self.tag!r}, but: {tags}"


def _scalars(event: bytes) -> Iterator[Scalar]:
    fields = list(protobuf_fields(event))
    step = next((value for number, value in fields if number == 2), 0)
    step -= 2**64 if step >= 2**63 else 0  # a signed number
    summaries = (value for number, value in fields if number == 5)
    for summary in summaries:
        for number, value in protobuf_fields(summary):
            if number == 1 and (scalar := _scalar(value, step)):
                yield scalar


def _scalar(data: bytes, step: int) -> Scalar | None:
    """The number of a Value; None if it is an image, a histogram, text, ..."""
    fields = dict(protobuf_fields(data))
    tag = fields.get(1, b"").decode("utf-8", "replace")
    if 2 in fields:
        return Scalar(step, tag, struct.unpack("<f", fields[2])[0])
    number = _tensor(fields[8]) if 8 in fields else None
    return None if number is None else Scalar(step, tag, number)


def _tensor(data: bytes) -> float | None:
    """The number of a tensor with one element, float or double."""
    fields = dict(protobuf_fields(data))
    packed = fields.get(4) or fields.get(5) or fields.get(6)
    letter, size = ("d", 8) if fields.get(1) == DT_DOUBLE else ("f", 4)
    if fields.get(1) not in (1, DT_DOUBLE) or packed is None or len(packed) != size:
        return None
    return struct.unpack(f"<{letter}", packed)[0]


def protobuf_fields(data: bytes) -> Fields:
    """The numbers and values of the fields of a protocol buffer; fixed-width values as bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
        else:
            length = {1: 8, 5: 4}.get(wire)
            if length is None:
                length, place = _varint(data, place)
            value, place = data[place : place + length], place + length
        yield key >> 3, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            break
    return value, place

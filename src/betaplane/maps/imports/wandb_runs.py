"""W&B's offline runs, read without the wandb package.

A .wandb file is a log of LevelDB: blocks of 32 KiB with chunks, each a checksum (4 bytes), a length
(2), a kind (1: whole, 2: first, 3: middle, 4: last part of a record) and data. A record is a
protocol buffer, of which these fields are read:

    Record         history = 2, run = 17, config = 5
    HistoryRecord  item = 1
    RunRecord      config = 4
    ConfigRecord   update = 1
    item, update   key = 1, nested_key = 2, value_json = 16
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from betaplane.problems.commands.event_files import protobuf_fields

FILE_HEADER_BYTES, CHUNK_HEADER_BYTES, BLOCK_BYTES = 7, 7, 2**15
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_run_file(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration of a run, and its logged rows in order."""
    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for record in _records(path.read_bytes()):
        for number, value in protobuf_fields(record):
            if number == 2:
                rows.append(_items(value, 1))
            elif number == 5:
                config |= _items(value, 1)
            elif number == 17:
                for inner, part in protobuf_fields(value):
                    config |= _items(part, 1) if inner == 4 else {}
    return config, rows


def _records(data: bytes) -> Iterator[bytes]:
    place, parts = FILE_HEADER_BYTES, b""
    while place + CHUNK_HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < CHUNK_HEADER_BYTES:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        start = place + CHUNK_HEADER_BYTES
        chunk, place = data[start : start + length], start + length
        parts = chunk if kind in (WHOLE, FIRST) else parts + chunk
        if kind in (WHOLE, LAST) and len(chunk) == length:
            yield parts


def _items(data: bytes, field: int) -> dict[str, Any]:
    """The values of the items in a field, by name; nested keys are joined by dots."""
    items = {}
    for number, item in protobuf_fields(data):
        if number == field:
            parts = list(protobuf_fields(item))
            nested = [value.decode() for key, value in parts if key == 2]
            key = next((value.decode() for key, value in parts if key == 1), "")
            text = next((value.decode() for key, value in parts if key == 16), "null")
            items[key or ".".join(nested)] = json.loads(text)
    return items

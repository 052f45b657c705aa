"""Check that a zip archive is undamaged and laid out as torch writes it: checksums, headers, padding."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

HEADER = "<4s5H3I2H"  # of a record in a zip file
HEADER_BYTES = 30
END_BYTES = 98  # of the zip64 end record, its locator and the end record
PADDING = b"FB"  # the extra field that aligns a record in torch's files; its other bytes are "Z"
MAX_RECORDS = 1_000_000


class Damaged(ValueError):
    """A file has changed since it was written; the message ends the sentence "The archive ..."."""


def checked_records(source: Any, size: int) -> tuple[dict[str, tuple[int, int]], bool]:
    """The positions of all records in an archive that torch wrote.

    Args:
        source: a path or an open file.
        size: of the file, bytes.

    Returns:
        The start and length of each record in bytes, by its name without the folder; and whether
        the archive has checksums, which torch can omit.

    Raises:
        Damaged: a record does not match its checksum, its two descriptions differ, or torch did not
            write the archive.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
            _check_sizes(records, size)
            has_checksums = any(record.CRC for record in records)
            bad = archive.testzip() if has_checksums else None
            bad = bad or _inconsistent_record(archive) or _changed_record(archive)
            places = {
                _name_in_folder(record.filename): (_start(archive, record), record.file_size)
                for record in records
            }
    except Damaged:
        raise
    except Exception as error:  # zipfile raises many types for files that are not archives
        raise Damaged(f"is damaged or cut short ({type(error).__name__})") from None
    if bad:
        raise Damaged(f"is damaged: the record {bad!r} does not match its checksum")
    return places, has_checksums


def _check_sizes(records: list[zipfile.ZipInfo], size: int) -> None:
    """Reject archives that could take long to read: compressed or overlapping records."""
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise Damaged("has compressed records, so torch did not write it")
    if len(records) > MAX_RECORDS or sum(record.file_size for record in records) > size:
        raise Damaged("has records that overlap, so torch did not write it")
    names = [_name_in_folder(record.filename) for record in records]
    if len(set(names)) < len(names):
        raise Damaged("has two records of one name, so torch did not write it")


def _name_in_folder(name: str) -> str:
    """The name of a record without the folder that contains all of them."""
    return name.partition("/")[2]


def _start(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> int:
    """The position of the first byte of a record's data."""
    file: Any = archive.fp
    file.seek(record.header_offset)
    *_, name_length, extra_length = struct.unpack(HEADER, file.read(HEADER_BYTES))
    return record.header_offset + HEADER_BYTES + name_length + extra_length


def _changed_record(archive: zipfile.ZipFile) -> str | None:
    """A record that another program changed: it differs from most others in fields that torch
    leaves at 0.
    """
    records = archive.infolist()
    fields = [
        (r.create_version, r.create_system, r.internal_attr, r.external_attr, r.volume, r.reserved,
         r.date_time, r.comment, r.flag_bits)
        for r in records
    ]  # fmt: skip
    common = max(set(fields), key=fields.count, default=())
    is_majority = bool(common) and 2 * fields.count(common) > len(fields)
    if not is_majority or common[:4] != (0, 0, 0, 0):
        return None
    pairs = zip(records, fields, strict=True)
    changed = next((record.filename for record, values in pairs if values != common), None)
    return changed or (None if _is_end_consistent(archive) else "the end")


def _is_end_consistent(archive: zipfile.ZipFile) -> bool:
    """Whether the end of the archive states the actual number and position of the records."""
    file: Any = archive.fp
    count, start = len(archive.infolist()), archive.start_dir
    file.seek(-END_BYTES, io.SEEK_END)
    tail = file.read()
    if not tail.startswith(b"PK\x06\x06"):
        return not archive.comment
    mark, size, _, _, *rest = struct.unpack("<4sQ2H2I4Q", tail[:56])
    at = file.tell() - END_BYTES
    first = (mark, size, *rest) == (b"PK\x06\x06", 44, 0, 0, count, count, at - start, start)
    second = struct.unpack("<4sIQI", tail[56:76]) == (b"PK\x06\x07", 0, at, 1)
    third = struct.unpack("<4s4H2IH", tail[76:])
    return first and second and third[:1] + third[-1:] == (b"PK\x05\x06", 0)


def _inconsistent_record(archive: zipfile.ZipFile) -> str | None:
    """The first record whose own header differs from the list of records."""
    records = archive.infolist()
    return next((r.filename for r in records if not _is_consistent(archive, r)), None)


def _is_consistent(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    """Whether a record's own header matches the list of records, and has torch's padding."""
    file: Any = archive.fp
    file.seek(record.header_offset)
    mark, version, flags, method, time, day, crc, size, raw_size, name_length, extra_length = (
        struct.unpack(HEADER, file.read(HEADER_BYTES))
    )
    name, extra = file.read(name_length), file.read(extra_length)
    sums_follow = crc == size == raw_size == 0  # the checksum and sizes are after the data
    file.seek(record.file_size, 1)
    tail = file.read(24) if sums_follow and flags & 8 else b""
    return (
        (mark, version, flags, method)
        == (b"PK\x03\x04", record.extract_version, record.flag_bits, 0)
        and (time, day) == _dos_time(record)
        and name == record.orig_filename.encode()
        and _is_padding(extra, record)
        and (sums_follow or (crc, size) == (record.CRC, record.file_size) or size == 0xFFFFFFFF)
        and (not tail or tail.startswith(_possible_tails(record)))
    )


def _dos_time(record: zipfile.ZipInfo) -> tuple[int, int]:
    """A record's time and day as zip files encode them."""
    year, month, day, hour, minute, second = record.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _is_padding(extra: bytes, record: zipfile.ZipInfo) -> bool:
    """Whether an extra field is torch's padding; other writers may have other fields."""
    if extra[:2] != PADDING:
        return record.create_version != 0
    length = len(extra) - 4
    return extra[2:] == struct.pack("<H", length) + b"Z" * length


def _possible_tails(record: zipfile.ZipInfo) -> tuple[bytes, ...]:
    """The checksum and sizes after the data, with sizes of 8 and, if they fit, 4 bytes."""
    start = struct.pack("<4sI", b"PK\x07\x08", record.CRC)
    sizes = (record.file_size, record.file_size)
    formats = ("<2I", "<2Q") if record.file_size < 2**32 else ("<2Q",)
    return tuple(start + struct.pack(form, *sizes) for form in formats)

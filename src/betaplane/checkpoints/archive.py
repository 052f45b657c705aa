"""Whether a zip archive is whole and laid out as torch writes it: every record's checksum, head and
padding.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

HEAD = "<4s5H3I2H"  # of a record in a zip file
PADDED = b"FB"  # the extra field with which torch aligns a record; the rest of it is Z
MANY = 1_000_000  # records


class Damaged(ValueError):
    """A file is not as its writer left it; the message ends the sentence "The file ..."."""


def checked_records(source: Any, size: int) -> tuple[dict[str, tuple[int, int]], bool]:
    """The place of every record in an archive that torch wrote.

    Args:
        source: a path or an open file.
        size: of it, bytes.

    Returns:
        Of each record, by its name without the folder, where its bytes begin and how many they are; and whether the
        archive has checksums, which torch can leave out.

    Raises:
        Damaged: a record does not match its checksum or is described in two ways, or torch did not write the archive.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
            _check_sizes(records, size)
            summed = any(one.CRC for one in records)
            bad = archive.testzip() if summed else None
            bad = (
                bad
                or next((one.filename for one in records if not _padded(archive, one)), None)
                or _odd(archive)
            )
            places = {
                _inside(one.filename): (_start(archive, one), one.file_size) for one in records
            }
    except Damaged:
        raise
    except Exception as error:  # zipfile raises a dozen types on what is no archive
        raise Damaged(f"is damaged or cut short ({type(error).__name__})") from None
    if bad:
        raise Damaged(f"is damaged: the record {bad!r} does not match its checksum")
    return places, summed


def _check_sizes(records: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse what could take long: compressed records, and records that share their bytes."""
    if any(one.compress_type != zipfile.ZIP_STORED for one in records):
        raise Damaged("has compressed records, so torch did not write it")
    if len(records) > MANY or sum(one.file_size for one in records) > size:
        raise Damaged("has records that overlap, so torch did not write it")
    names = [_inside(one.filename) for one in records]
    if len(set(names)) < len(names):
        raise Damaged("has two records of one name, so torch did not write it")


def _inside(name: str) -> str:
    """The name of a record without the folder that holds all of them."""
    return name.partition("/")[2]


def _start(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> int:
    """Where the bytes of a record begin."""
    file: Any = archive.fp
    file.seek(record.header_offset)
    *_, named, extended = struct.unpack(HEAD, file.read(30))
    return record.header_offset + 30 + named + extended


def _odd(archive: zipfile.ZipFile) -> str | None:
    """A record unlike the others in fields that torch leaves at 0, where most have them so: some
    program changed it.
    """
    records = archive.infolist()
    fields = [
        (one.create_version, one.create_system, one.internal_attr, one.external_attr, one.volume, one.reserved,
         one.date_time, one.comment, one.flag_bits)
        for one in records
    ]  # fmt: skip
    usual = max(set(fields), key=fields.count, default=())
    odd = next(
        (one.filename for one, held in zip(records, fields, strict=True) if held != usual), None
    )
    ours = usual and 2 * fields.count(usual) > len(fields) and usual[:4] == (0, 0, 0, 0)
    return (odd or (None if _ends(archive) else "the end")) if ours else None


def _ends(archive: zipfile.ZipFile) -> bool:
    """Whether what follows the list of records counts them as they are."""
    file: Any = archive.fp
    count, start = len(archive.infolist()), archive.start_dir
    file.seek(-98, io.SEEK_END)
    tail = file.read()
    if not tail.startswith(b"PK\x06\x06"):
        return not archive.comment
    mark, size, _, _, *rest = struct.unpack("<4sQ2H2I4Q", tail[:56])
    at = file.tell() - 98
    first = (mark, size, *rest) == (b"PK\x06\x06", 44, 0, 0, count, count, at - start, start)
    second = struct.unpack("<4sIQI", tail[56:76]) == (b"PK\x06\x07", 0, at, 1)
    third = struct.unpack("<4s4H2IH", tail[76:])
    return first and second and third[:1] + third[-1:] == (b"PK\x05\x06", 0)


def _padded(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    """Whether a record's own head says what the list of records says, and is padded as torch pads."""
    file: Any = archive.fp
    file.seek(record.header_offset)
    mark, version, flags, method, clock, day, crc, size, whole, named, extended = struct.unpack(
        HEAD, file.read(30)
    )
    year, month, date, hour, minute, second = record.date_time
    written = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | date)
    name, extra = file.read(named), file.read(extended)
    after = crc == size == whole == 0  # the sums follow the data
    file.seek(record.file_size, 1)
    tail = file.read(24) if after and flags & 8 else b""
    sizes = (record.file_size, record.file_size)
    mark_and_sum = struct.pack("<4sI", b"PK\x07\x08", record.CRC)
    ends = [
        mark_and_sum + struct.pack(form, *sizes)
        for form in ("<2I", "<2Q")
        if max(sizes) < 2**32 or form == "<2Q"
    ]
    return (
        (mark, version, flags, method)
        == (b"PK\x03\x04", record.extract_version, record.flag_bits, 0)
        and (clock, day) == written
        and name == record.orig_filename.encode()
        and (extra[:2] == PADDED or record.create_version != 0)
        and (
            extra[:2] != PADDED
            or extra[2:] == struct.pack("<H", extended - 4) + b"Z" * (extended - 4)
        )
        and (after or (crc, size) == (record.CRC, record.file_size) or size == 0xFFFFFFFF)
        and (not tail or tail.startswith(tuple(ends)))
    )

"""A torch file, read without running what is in it: checked for damage, foreign classes replaced by inert stand-ins."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from betaplane.errors import BadInput

SAVED = "torch.save(optimizer.state_dict(), 'opt.pt')"
# Classes that frameworks leave in checkpoints beside the state. Each becomes an `Inert`; none is imported.
HARMLESS = (
    "deepspeed.", "lightning.", "pytorch_lightning.", "lightning_fabric.", "transformers.", "omegaconf.", "argparse.",
    "numpy.", "collections.", "pathlib.", "typing.",
)  # fmt: skip
TENSORS = "torchao.optim.subclass_8bit."  # a tensor that holds its codes, scales and map as fields
HEAD = "<4s5H3I2H"  # of a record in a zip file
PADDED = b"FB"  # the extra field with which torch aligns a record; the rest of it is Z


class Inert:
    """What stands for an object of another program: its arguments and fields, and no behaviour."""

    def __new__(cls, *args: Any, **_: Any) -> Inert:
        """Keep the arguments."""
        found = super().__new__(cls)
        found.__dict__["args"] = args
        return found

    def __init__(self, *args: Any, **_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({str(name): value for name, value in state.items()})

    def __setitem__(self, key: Any, value: Any) -> None:
        """Items are dropped."""

    def append(self, value: Any) -> None:
        """Items are dropped."""


class InertTensor(torch.Tensor):
    """What stands for a tensor of another program's class: its fields, and no operations."""

    @classmethod
    def __torch_dispatch__(cls, *_: Any, **__: Any) -> Any:
        """None is known."""
        return NotImplemented


def damaged(path: str | Path, what: str) -> BadInput:
    """The error for a file that cannot be read."""
    return BadInput(what, value=str(path), allowed="an optimizer's state on disk", where="inspect", instead=SAVED)


def read(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; large files are mapped into memory.

    Args:
        path: of the file.

    Raises:
        BadInput: it is missing, empty, damaged, or holds a pickle that calls functions.
    """
    try:
        if not path.is_file():
            raise damaged(path, "There is no such checkpoint")
        if path.stat().st_size == 0:
            raise damaged(path, "The file is empty")
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:
            return _loaded(path, path, mmap=False)
        _check_whole(path, path)
        return _loaded(path, path, mmap=True)
    except OSError as error:
        raise damaged(path, f"The file cannot be read ({error.strerror or type(error).__name__})") from None


def read_bytes(data: bytes, path: Path) -> Any:
    """What `torch.save` wrote into `data`, a part of the file `path`."""
    source = io.BytesIO(data)
    if not data.startswith(b"PK\x03\x04"):
        raise damaged(path, "The file is damaged (a part of it is no saved tensor)")
    _check_whole(source, path)
    return _loaded(source, path, mmap=False)


def _check_whole(source: Any, path: Path) -> None:
    """Compare every record with its checksum, and the space between records with what torch fills it with."""
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
            if any(one.compress_type != zipfile.ZIP_STORED for one in records):
                raise damaged(path, "The records of the archive are compressed, so torch did not write it")
            summed = any(one.CRC for one in records)  # torch can leave checksums out
            bad = archive.testzip() if summed else None
            bad = bad or next((one.filename for one in records if not _padded(archive, one)), None) or _odd(archive)
    except BadInput:
        raise
    except Exception as error:  # zipfile raises a dozen types on what is no archive
        raise damaged(path, f"The archive is damaged or cut short ({type(error).__name__})") from None
    if bad:
        raise damaged(path, f"The archive is damaged: the record {bad!r} does not match its checksum")


def _odd(archive: zipfile.ZipFile) -> str | None:
    """A record unlike the others in fields that torch leaves at 0, where most have them so: some program changed it."""
    records = archive.infolist()
    fields = [
        (one.create_version, one.create_system, one.internal_attr, one.external_attr, one.volume, one.reserved,
         one.date_time, one.comment, one.flag_bits)
        for one in records
    ]  # fmt: skip
    usual = max(set(fields), key=fields.count, default=())
    odd = next((one.filename for one, held in zip(records, fields, strict=True) if held != usual), None)
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
    mark, version, flags, method, clock, day, crc, size, whole, named, extended = struct.unpack(HEAD, file.read(30))
    year, month, date, hour, minute, second = record.date_time
    written = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | date)
    name, extra = file.read(named), file.read(extended)
    after = crc == size == whole == 0  # the sums follow the data
    file.seek(record.file_size, 1)
    tail = file.read(24) if after and flags & 8 else b""
    sizes = (record.file_size, record.file_size)
    mark_and_sum = struct.pack("<4sI", b"PK\x07\x08", record.CRC)
    ends = [mark_and_sum + struct.pack(form, *sizes) for form in ("<2I", "<2Q") if max(sizes) < 2**32 or form == "<2Q"]
    return (
        (mark, version, flags, method) == (b"PK\x03\x04", record.extract_version, record.flag_bits, 0)
        and (clock, day) == written
        and name == record.orig_filename.encode()
        and (extra[:2] == PADDED or record.create_version != 0)
        and (extra[:2] != PADDED or extra[2:] == struct.pack("<H", extended - 4) + b"Z" * (extended - 4))
        and (after or (crc, size) == (record.CRC, record.file_size) or size == 0xFFFFFFFF)
        and (not tail or tail.startswith(tuple(ends)))
    )


def _loaded(source: Any, path: Path, *, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stand_ins: list[Any] = [
                (InertTensor if name.startswith(TENSORS) else Inert, name) for name in _foreign(source, path)
            ]
            if isinstance(source, io.BytesIO):
                source.seek(0)
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except BadInput:
        raise
    except Exception as error:  # torch raises a dozen types on a foreign or damaged file
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        if called:
            raise _refused(path, [called[1]]) from None
        raise damaged(path, f"The file is damaged, or no torch checkpoint ({type(error).__name__})") from None


def _foreign(source: Any, path: Path) -> list[str]:
    """Names in the pickle that torch does not know and that are harmless."""
    if not (isinstance(source, io.BytesIO) or zipfile.is_zipfile(source)):
        return []
    if isinstance(source, io.BytesIO):
        source.seek(0)
    names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(source))
    refused = [name for name in names if not name.startswith((*HARMLESS, TENSORS))]
    if refused:
        raise _refused(path, refused)
    return names


def _refused(path: Path, names: list[str]) -> BadInput:
    return damaged(path, f"The pickle in this file would call {', '.join(names[:3])}, so it was not opened")

"""Read a torch file without running code in it: checked for damage, with inert stand-ins for foreign
objects.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from betaplane.checkpoints.archive import Damaged, checked_records
from betaplane.checkpoints.inert_pickle import Refused, Unpickler
from betaplane.checkpoints.stored import TABLE, Lengths, Span, Storages
from betaplane.errors import BadInput

SAVE_EXAMPLE = "torch.save(optimizer.state_dict(), 'opt.pt')"
INSPECT_EXAMPLE = "betaplane inspect path/to/optimizer.pt"
NOT_A_CHECKPOINT = "The file is damaged, or not a torch checkpoint"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the format before torch 1.6
UNSUMMED = "This file has no checksums, so damage to its numbers cannot be detected."


def damaged(path: str | Path, what: str) -> BadInput:
    """The error for a file that cannot be read."""
    return BadInput(
        what,
        value=str(path),
        allowed="an optimizer's state on disk",
        where="inspect",
        instead=SAVE_EXAMPLE if Path(path).exists() else INSPECT_EXAMPLE,
    )


def refused(path: str | Path, name: str) -> BadInput:
    """The error for a file whose pickle calls a function that no checkpoint needs."""
    return damaged(path, f"The pickle in this file would call {name[:100]}, so it was not opened")


def read(path: Path, notes: list[str] | None = None) -> Any:
    """The object that `torch.save` wrote, on the CPU, mapped into memory.

    Args:
        path: of the file.
        notes: a sentence is added if damage to the file could go unnoticed.

    Raises:
        BadInput: the file is missing, empty, damaged, or contains a pickle that calls functions.
    """
    if not path.is_file():
        raise damaged(path, "There is no such checkpoint")
    with _errors_as_bad_input(path), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise damaged(path, "The file is empty")
        return _load(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), file, notes)


def read_bytes(archive: bytes, path: Path) -> Any:
    """The object that `torch.save` wrote into `archive`, a part of the file `path`."""
    if not archive.startswith(b"PK\x03\x04"):
        raise damaged(path, "The file is damaged (a part of it is not a saved tensor)")
    with _errors_as_bad_input(path):
        return _load(bytearray(archive), io.BytesIO(archive), None)


@contextmanager
def _errors_as_bad_input(path: Path) -> Iterator[None]:
    """Raise all errors of a damaged or foreign file as BadInput."""
    try:
        yield
    except BadInput:
        raise
    except Damaged as error:
        raise damaged(path, f"The archive {error}") from None
    except Refused as error:
        raise refused(path, error.name) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise damaged(path, f"The file cannot be read ({why})") from None
    except ValueError as error:
        raise damaged(path, f"{NOT_A_CHECKPOINT} ({error})") from None
    except Exception as error:  # a damaged pickle can make Python's reader raise anything
        raise damaged(path, f"{NOT_A_CHECKPOINT} ({type(error).__name__})") from None


def _load(buffer: Any, file: Any, notes: list[str] | None) -> Any:
    """The object in an archive or in the older format; `file` reads the same bytes as `buffer`."""
    if buffer[:4] == b"PK\x03\x04":
        loaded, has_checksums = _load_archive(buffer, file)
    else:
        loaded, has_checksums = _load_old_format(buffer, file), False
    if not has_checksums and notes is not None:
        notes.append(UNSUMMED)
    return loaded


def _load_archive(buffer: Any, file: Any) -> tuple[Any, bool]:
    """The object in an archive, and whether the archive has checksums."""
    records, has_checksums = checked_records(file, len(buffer))
    if "data.pkl" not in records:
        raise ValueError("it contains no data.pkl")
    if _bytes(buffer, records.get("byteorder", (0, 0))) not in (b"", b"little"):
        raise ValueError("its numbers are big-endian")
    spans = {name.removeprefix("data/"): Span(buffer, *place) for name, place in records.items()}
    pickled = io.BytesIO(_bytes(buffer, records["data.pkl"]))
    return Unpickler(pickled, len(buffer), TABLE, Storages(spans)).load(), has_checksums


def _bytes(buffer: Any, place: tuple[int, int]) -> bytes:
    start, length = place
    return bytes(memoryview(buffer)[start : start + length])


def _load_old_format(buffer: Any, file: Any) -> Any:
    """The object in the format before torch 1.6: five pickles, then the storages in the order of
    the last pickle.

    The positions of the storages are known only after the object was read, so it is read twice.
    """
    lengths = Lengths(buffer)

    def load(storages: Storages | None = None) -> Any:
        return Unpickler(file, len(buffer), TABLE, storages).load()

    if load() != MAGIC or load() != PROTOCOL or load().get("little_endian") is not True:
        raise ValueError("it does not begin as torch's files do")
    start = file.tell()
    load(lengths)
    spans = lengths.places(load(), file.tell())
    file.seek(start)
    return load(Storages(spans))

"""A torch file, read without running what is in it: checked for damage, foreign objects replaced by
inert stand-ins.
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

SAVED = "torch.save(optimizer.state_dict(), 'opt.pt')"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the format before torch 1.6
UNSUMMED = "This file has no checksums, so damage to its numbers cannot be noticed."


def damaged(path: str | Path, what: str) -> BadInput:
    """The error for a file that cannot be read."""
    return BadInput(
        what,
        value=str(path),
        allowed="an optimizer's state on disk",
        where="inspect",
        instead=SAVED,
    )


def refused(path: str | Path, name: str) -> BadInput:
    """The error for a file whose pickle calls what no checkpoint needs."""
    return damaged(path, f"The pickle in this file would call {name[:100]}, so it was not opened")


def read(path: Path, notes: list[str] | None = None) -> Any:
    """What `torch.save` wrote, on the CPU, mapped into memory.

    Args:
        path: of the file.
        notes: a sentence is added for what cannot be known of the file.

    Raises:
        BadInput: it is missing, empty, damaged, or holds a pickle that calls functions.
    """
    if not path.is_file():
        raise damaged(path, "There is no such checkpoint")
    with _sentences(path), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise damaged(path, "The file is empty")
        return _loaded(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), file, notes)


def read_bytes(data: bytes, path: Path) -> Any:
    """What `torch.save` wrote into `data`, a part of the file `path`."""
    if not data.startswith(b"PK\x03\x04"):
        raise damaged(path, "The file is damaged (a part of it is no saved tensor)")
    with _sentences(path):
        return _loaded(bytearray(data), io.BytesIO(data), None)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Whatever a damaged or foreign file raises, as one sentence."""
    try:
        yield
    except BadInput:
        raise
    except Damaged as error:
        raise damaged(path, f"The archive {error}") from None
    except Refused as error:
        raise refused(path, error.name) from None
    except OSError as error:
        raise damaged(
            path, f"The file cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    except ValueError as error:
        raise damaged(path, f"The file is damaged, or no torch checkpoint ({error})") from None
    except Exception as error:  # a damaged pickle can make Python's reader raise anything
        raise damaged(
            path, f"The file is damaged, or no torch checkpoint ({type(error).__name__})"
        ) from None


def _loaded(buffer: Any, file: Any, notes: list[str] | None) -> Any:
    """The object in an archive, or in the format before it; `file` reads the same bytes as
    `buffer`.
    """
    archived = buffer[:4] == b"PK\x03\x04"
    found, summed = _archived(buffer, file) if archived else (_old(buffer, file), False)
    if not summed and notes is not None:
        notes.append(UNSUMMED)
    return found


def _archived(buffer: Any, file: Any) -> tuple[Any, bool]:
    """The object in an archive, and whether that has checksums."""
    records, summed = checked_records(file, len(buffer))
    if "data.pkl" not in records:
        raise ValueError("it holds no data.pkl")
    if _bytes(buffer, records.get("byteorder", (0, 0))) not in (b"", b"little"):
        raise ValueError("its numbers are big-endian")
    spans = {name.removeprefix("data/"): Span(buffer, *place) for name, place in records.items()}
    pickled = io.BytesIO(_bytes(buffer, records["data.pkl"]))
    return Unpickler(pickled, len(buffer), TABLE, Storages(spans)).load(), summed


def _bytes(buffer: Any, place: tuple[int, int]) -> bytes:
    start, length = place
    return bytes(memoryview(buffer)[start : start + length])


def _old(buffer: Any, file: Any) -> Any:
    """The object in the format before torch 1.6: five pickles, then the storages in the order of
    the last one.

    The places of the storages are known only after the object was read, so it is read twice.
    """
    lengths = Lengths(buffer)

    def unpickled(storages: Storages | None = None) -> Any:
        return Unpickler(file, len(buffer), TABLE, storages).load()

    if (
        unpickled() != MAGIC
        or unpickled() != PROTOCOL
        or unpickled().get("little_endian") is not True
    ):
        raise ValueError("it does not begin as torch's files do")
    start = file.tell()
    unpickled(lengths)
    spans = lengths.places(unpickled(), file.tell())
    file.seek(start)
    return unpickled(Storages(spans))

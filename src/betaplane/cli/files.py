"""Write results: a folder that can be written, files that are never seen half written."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from betaplane.errors import BadInput


def file_name(name: str) -> str:
    """A name as it may stand in a path.

    Example:
        >>> file_name("digits:batch_size=16")
        'digits-batch_size=16'
    """
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-")


def check_apart(path: Path, read: Iterable[Path], instead: str) -> None:
    """Refuse to write a file over one that is read.

    Args:
        path: of the file to write.
        read: what may not be lost.
        instead: the option that named it, with what may stand there.

    Raises:
        BadInput: it is one of them.
    """
    if path.resolve() in {each.resolve() for each in read}:
        where = instead.split()[0]
        raise BadInput(
            "This file is read, and writing would replace it",
            value=str(path),
            allowed="any other file",
            where=where,
            instead=instead,
        )


def make_folder(path: Path, instead: str = "--out FOLDER") -> None:
    """Make the folder for the results before anything is trained, or say that it cannot be.

    Args:
        path: of the folder.
        instead: the option that named it, with what may stand there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unwritable(path, error, instead) from error


def write_whole(path: Path, content: bytes, instead: str = "--out FOLDER") -> None:
    """Write a file so that it is never seen half written.

    Args:
        path: of the file.
        content: all of it.
        instead: the option that named it, with what may stand there.
    """
    part = Path(f"{path}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(path, error, instead) from error


def _unwritable(path: Path, error: OSError, instead: str) -> BadInput:
    return BadInput(
        f"The results cannot be written ({error.strerror})",
        value=str(path),
        allowed="a folder that can be written, on a disk with free space",
        where=instead.split()[0],
        instead=instead,
    )

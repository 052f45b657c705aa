"""Write results: a folder that can be written, files that are never seen half written."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
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


def check_file(path: Path, instead: str) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Args:
        path: of the file; its folder is made if there is none.
        instead: the option that named it, with what may stand there.

    Raises:
        BadInput: it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise BadInput(
            "This is a folder",
            value=str(path),
            allowed="a file",
            where=instead.split()[0],
            instead=instead,
        )
    make_folder(path.parent, instead)


def write_each(
    contents: Mapping[Path, bytes], instead: str = "--out FOLDER"
) -> tuple[list[Path], BadInput | None]:
    """Write several files, so that a file that cannot be written does not keep a command from
    printing its answer.

    Args:
        contents: path -> all of its content; folders that do not exist are made.
        instead: the option that named them, with what may stand there.

    Returns:
        The paths that were written, and the first error for the caller to raise once it has printed its answer.
    """
    written: list[Path] = []
    failed: BadInput | None = None
    for path, content in contents.items():
        try:
            make_folder(path.parent, instead)
            write_whole(path, content, instead)
            written.append(path)
        except BadInput as error:
            failed = failed or error
    return written, failed


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

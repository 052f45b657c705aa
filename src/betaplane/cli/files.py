"""Check and write output files; a file is written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from betaplane.errors import BadInput

OUT = "--out FOLDER"


def file_name(name: str) -> str:
    """A name without the characters that paths do not allow.

    Example:
        >>> file_name("digits:batch_size=16")
        'digits-batch_size=16'
    """
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-")


def check_apart(path: Path, inputs: Iterable[Path], option: str) -> None:
    """Raise if an output file is one of the input files.

    Args:
        path: the file to write.
        inputs: files that must not be replaced.
        option: the flag that names the file, with an example of its value.

    Raises:
        BadInput: the path is one of the inputs.
    """
    if path.resolve() in {file.resolve() for file in inputs}:
        raise BadInput(
            "The output would replace an input file",
            value=str(path),
            allowed="any other file",
            where=option.split()[0],
            instead=option,
        )


def check_file(path: Path, option: str) -> None:
    """Raise if a file cannot be written; used before anything is computed.

    Args:
        path: the file; its folder is made if it does not exist.
        option: the flag that names the file, with an example of its value.

    Raises:
        BadInput: the path is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise BadInput(
            "The path is a folder",
            value=str(path),
            allowed="a file",
            where=option.split()[0],
            instead=option,
        )
    make_folder(path.parent, option)


def write_each(
    contents: Mapping[Path, bytes], option: str = OUT
) -> tuple[list[Path], BadInput | None]:
    """Write several files and return the first error instead of raising it.

    A command can therefore print its answer even if a file cannot be written.

    Args:
        contents: content of each file; folders that do not exist are made.
        option: the flag that names the files, with an example of its value.

    Returns:
        The paths that were written, and the first error, for the caller to raise at its end.
    """
    written: list[Path] = []
    first_error: BadInput | None = None
    for path, content in contents.items():
        try:
            make_folder(path.parent, option)
            write_whole(path, content, option)
            written.append(path)
        except BadInput as error:
            first_error = first_error or error
    return written, first_error


def make_folder(path: Path, option: str = OUT) -> None:
    """Make a folder and check that files can be written in it.

    Args:
        path: the folder.
        option: the flag that names it, with an example of its value.

    Raises:
        BadInput: the folder cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unwritable(path, error, option) from error


def write_whole(path: Path, content: bytes, option: str = OUT) -> None:
    """Write a file under another name, then rename it, so that it is never seen half written.

    Args:
        path: the file.
        content: all of it.
        option: the flag that names the file, with an example of its value.

    Raises:
        BadInput: the file cannot be written.
    """
    part = Path(f"{path}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(path, error, option) from error


def _unwritable(path: Path, error: OSError, option: str) -> BadInput:
    return BadInput(
        f"The results cannot be written ({error.strerror})",
        value=str(path),
        allowed="a folder that can be written, on a disk with free space",
        where=option.split()[0],
        instead=option,
    )

"""Write results: a folder that can be written, files that are never seen half written."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from betaplane.errors import BadInput


def file_name(name: str) -> str:
    """A name as it may stand in a path.

    Example:
        >>> file_name("digits:batch_size=16")
        'digits-batch_size=16'
    """
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-")


def make_folder(path: Path) -> None:
    """Make the folder for the results before anything is trained, or say that it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput(
        f"The results cannot be written ({error.strerror})",
        value=str(path),
        allowed="a folder that can be written, on a disk with free space",
        where="--out",
        instead="--out FOLDER",
    )

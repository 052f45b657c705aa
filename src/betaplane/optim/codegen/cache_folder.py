"""The folder of compiled code: one that only this user can write to, or else a temporary one."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from betaplane.optim.once import once

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@once
def folder() -> Path:
    """Where compiled code is kept: $XDG_CACHE_HOME/betaplane, ~/.cache/betaplane, or a temporary
    folder.

    What lies there is loaded as code. So the folder must belong to this user, and neither it nor a folder above it may
    be writable by anyone else but root (as ssh requires for keys); a folder with the sticky bit, as /tmp, may be above
    it. The temporary folder is private to this process and removed at its exit.

    Raises:
        OSError: no folder can be made at all.
    """
    wanted = _wanted()
    try:
        found = wanted and _made(wanted)
        if found and _is_private(found):
            with tempfile.TemporaryFile(dir=found):
                return found
    except OSError:
        pass
    return _temporary()


def _wanted() -> Path | None:
    """The usual place; None without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others are to be ignored, says the XDG specification
        return Path(given) / "betaplane"
    try:
        return Path.home() / ".cache" / "betaplane"
    except RuntimeError:  # neither HOME nor an entry in passwd
        return None


def _made(place: Path) -> Path:
    """The folder without links in its path, made with its parents if they are missing, for this
    user alone.
    """
    for part in (*reversed(place.parents), place):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
    return place.resolve(strict=True)


def _is_private(place: Path) -> bool:
    """Whether a folder belongs to this user, and nobody else can write to it or exchange it."""
    if not hasattr(os, "getuid"):
        return True
    found = place.lstat()
    own = (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & OTHERS_WRITE
    )
    return own and all(_cannot_be_exchanged(parent.lstat()) for parent in place.parents)


def _cannot_be_exchanged(parent: os.stat_result) -> bool:
    trusted = stat.S_ISDIR(parent.st_mode) and parent.st_uid in (0, os.getuid())
    return trusted and bool(not parent.st_mode & OTHERS_WRITE or parent.st_mode & stat.S_ISVTX)


def _temporary() -> Path:
    place, owner = Path(tempfile.mkdtemp(prefix="betaplane-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked process runs this too
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    return place


def read_own(path: Path) -> bytes:
    """The content of a file that belongs to this user and that nobody else can write to.

    Args:
        path: in `folder()`.

    Raises:
        OSError: there is none, or it is a link, no plain file, or another's.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        own = not hasattr(os, "getuid") or (
            found.st_uid == os.getuid() and not found.st_mode & OTHERS_WRITE
        )
        if not stat.S_ISREG(found.st_mode) or not own:
            raise PermissionError(f"{path} is not a private file of this user")
        return file.read()

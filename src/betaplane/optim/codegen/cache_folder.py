"""The folder of compiled code: one that only this user can write to, or else a temporary one."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from betaplane.optim.once import once

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@once
def cache_folder() -> Path:
    """The folder of compiled code: $XDG_CACHE_HOME/betaplane, ~/.cache/betaplane, or a temporary
    folder.

    Files in it are loaded as code. So the folder must belong to this user, and only this user and root may write to it
    or to a folder above it, as ssh requires for keys; folders above it may have the sticky bit, as /tmp has. The
    temporary folder is private to this process, and removed at its exit.

    Raises:
        OSError: no folder can be made at all.
    """
    preferred = _preferred_folder()
    try:
        created = preferred and _create(preferred)
        if created and is_private(created):
            with tempfile.TemporaryFile(dir=created):
                return created
    except OSError:
        pass
    return _temporary_folder()


def _preferred_folder() -> Path | None:
    """The default folder; None if the user has no home."""
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache_home):  # the XDG specification says to ignore relative paths
        return Path(cache_home) / "betaplane"
    try:
        return Path.home() / ".cache" / "betaplane"
    except RuntimeError:  # neither HOME nor an entry in passwd
        return None


def _create(place: Path) -> Path:
    """Create a folder and its missing parents for this user alone; returns it without links in its
    path.
    """
    for part in (*reversed(place.parents), place):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
    return place.resolve(strict=True)


def is_private(place: Path) -> bool:
    """Whether a folder belongs to this user, and no other user can write to it or replace it."""
    if not hasattr(os, "getuid"):
        return True
    status = place.lstat()
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not own or status.st_mode & WRITABLE_BY_OTHERS:
        return False
    return all(_is_protected(parent.lstat()) for parent in place.parents)


def _is_protected(parent: os.stat_result) -> bool:
    trusted = stat.S_ISDIR(parent.st_mode) and parent.st_uid in (0, os.getuid())
    return trusted and bool(
        not parent.st_mode & WRITABLE_BY_OTHERS or parent.st_mode & stat.S_ISVTX
    )


def _temporary_folder() -> Path:
    place, owner = Path(tempfile.mkdtemp(prefix="betaplane-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked process runs this too
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    return place


def read_private(path: Path) -> bytes:
    """The content of a file that belongs to this user and to which no other user can write.

    Args:
        path: a file in `cache_folder()`.

    Raises:
        OSError: it does not exist, is a link or no regular file, or belongs to another user.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        own = not hasattr(os, "getuid") or (
            status.st_uid == os.getuid() and not status.st_mode & WRITABLE_BY_OTHERS
        )
        if not stat.S_ISREG(status.st_mode) or not own:
            raise PermissionError(f"{path} is not a private file of this user")
        return file.read()

"""Access to an SQLite file shared by processes: waiting for locks, transactions, error messages."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from betaplane.errors import BadInput

LOCK_TIMEOUT_SECONDS = 60.0  # to wait for another process's lock
BUSY_TIMEOUT_SECONDS = 1.0  # of these, spent inside SQLite, where Ctrl-C has no effect
MAX_VALUE_BYTES = 2**26  # longer values are damage

WRITABLE = "a file and folder that can be written"
ELSEWHERE = 'store="/elsewhere/map.sqlite"'
OTHER = 'store="other.sqlite"'
MERGED = 'store_of(problem, "other.sqlite").merge({path!r})  # copies the undamaged runs'
DAMAGED = "The store is damaged", "an undamaged store", MERGED
# SQLite's result code -> what, allowed, instead
MESSAGES = {
    sqlite3.SQLITE_FULL: (
        "The disk is full; all earlier runs are kept",
        "a disk with free space",
        ELSEWHERE,
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk failed or is full; all earlier runs are kept",
        "a working disk with free space",
        ELSEWHERE,
    ),
    sqlite3.SQLITE_READONLY: ("The store cannot be written", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_PERM: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: ("The store is damaged", "an undamaged store", OTHER),
    sqlite3.SQLITE_BUSY: (
        "Another process kept the store locked for a minute",
        "a lock that lasts milliseconds",
        OTHER,
    ),
}

T = TypeVar("T")


@contextmanager
def connected(path: Path, frozen: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that is closed only if the block raises.

    Args:
        path: the file.
        frozen: open it read-only and without locks, for a file that no process can write.
    """
    address = path.absolute().as_uri() + ("?mode=ro&immutable=1" if frozen else "?mode=rwc")
    # Transactions are begun explicitly; the store's own lock serializes threads.
    db = sqlite3.connect(
        address,
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        db.text_factory = _decode
        yield db
    except BaseException:
        db.close()
        raise


def _decode(raw: bytes) -> str:
    """Text as it was stored; damaged text becomes other text, which its digest detects."""
    return raw.decode("utf-8", "backslashreplace")


def frozen(path: Path) -> bool:
    """Whether a complete store and its folder are read-only."""
    wal = path.with_name(path.name + "-wal")
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) and not wal.exists()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that the block begins; undo it if the block raises."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite rolls back automatically after some errors
            db.execute("ROLLBACK")
        raise


def result_code(error: BaseException | None) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def sqlite_errors_as_bad_input(path: Path) -> Iterator[None]:
    """Raise SQLite's errors about the disk and the file as BadInput; others, which would be bugs in
    this package, unchanged.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.Error, OverflowError) as error:
        what, allowed, instead = MESSAGES.get(result_code(error), DAMAGED)
        instead = instead.format(path=str(path))
        raise BadInput(
            what, value=str(error), allowed=allowed, where=str(path), instead=instead
        ) from error


def retry_while_locked(call: Callable[[], T]) -> T:
    """Repeat a call while another process holds the lock.

    SQLite sometimes reports a busy file without waiting for its timeout.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            locked = result_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not locked or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))

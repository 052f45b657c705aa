"""An SQLite file that several processes use: waiting for locks, whole transactions, errors as
sentences.
"""

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

PATIENCE = 60.0  # seconds to wait for another process's lock
LONGEST = 2**26  # bytes of the longest value read; longer ones are damage
BUSY = 1.0  # seconds of it spent inside SQLite, where Ctrl-C is not heard

# result code: what, allowed, instead
WRITABLE, ELSEWHERE, OTHER = (
    "a file and folder that can be written",
    'store="/elsewhere/map.sqlite"',
    'store="other.sqlite"',
)
MERGED = 'store_of(problem, "other.sqlite").merge({path!r})  # copies the runs that are whole'
DAMAGED = "The store is damaged", "a whole store", MERGED
SENTENCES = {
    sqlite3.SQLITE_FULL: (
        "The disk is full; all runs finished before are kept",
        "a disk with free space",
        ELSEWHERE,
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk failed or is full; all runs finished before are kept",
        "a sound disk",
        ELSEWHERE,
    ),
    sqlite3.SQLITE_READONLY: ("The store cannot be written", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_PERM: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: ("The store is damaged", "a whole store", OTHER),
    sqlite3.SQLITE_BUSY: (
        "Another process kept the store locked for a minute",
        "a lock of milliseconds",
        OTHER,
    ),
}

T = TypeVar("T")


@contextmanager
def connected(path: Path, frozen: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that stays open only where the block ends well."""
    address = path.absolute().as_uri() + ("?mode=ro&immutable=1" if frozen else "?mode=rwc")
    # Transactions are begun by hand; the store's own lock keeps threads apart.
    db = sqlite3.connect(
        address, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
    )
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        db.text_factory = _text
        yield db
    except BaseException:
        db.close()
        raise


def _text(raw: bytes) -> str:
    """Text as it was stored; damaged text as something else, for its digest to notice."""
    return raw.decode("utf-8", "backslashreplace")


def frozen(path: Path) -> bool:
    """Whether a finished store lies where nothing can be written, so that it can be read only as it
    is.
    """
    wal = path.with_name(path.name + "-wal")
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) and not wal.exists()


@contextmanager
def undone_where_it_fails(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that the block begins, or roll it back."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            db.execute("ROLLBACK")
        raise


def code(error: BaseException | None) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the disk and the file into sentences; errors of our own calls stay
    as they are.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.Error, OverflowError) as error:
        what, allowed, instead = SENTENCES.get(code(error), DAMAGED)
        instead = instead.format(path=str(path))
        raise BadInput(
            what, value=str(error), allowed=allowed, where=str(path), instead=instead
        ) from error


def patiently(act: Callable[[], T]) -> T:
    """Do it again while another process holds the lock: some of SQLite's busy answers come without
    any waiting.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if (
                code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
        time.sleep(random.uniform(0.001, 0.02))

"""The runs of a damaged store that can still be reached."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

SCANS = (  # each stops where it meets damage: the table from both ends, then the index on its keys
    "SELECT id FROM runs NOT INDEXED ORDER BY id",
    "SELECT id FROM runs NOT INDEXED ORDER BY id DESC",
    "SELECT id FROM runs INDEXED BY sqlite_autoindex_runs_1 ORDER BY key",
)


def every_id(db: sqlite3.Connection) -> list[int]:
    """The ids of all runs that a scan of the table or of its index finds, in ascending order."""
    found: set[int] = set()
    for scan in SCANS:
        with suppress(sqlite3.DatabaseError):
            for (number,) in db.execute(scan):
                found.add(number)
    return sorted(number for number in found if isinstance(number, int))

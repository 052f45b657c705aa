"""Find the runs of a damaged store that can still be read."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

# Each scan stops at the first damage: the table from both ends, then the index on its keys.
SCANS = (
    "SELECT id FROM runs NOT INDEXED ORDER BY id",
    "SELECT id FROM runs NOT INDEXED ORDER BY id DESC",
    "SELECT id FROM runs INDEXED BY sqlite_autoindex_runs_1 ORDER BY key",
)


def readable_ids(db: sqlite3.Connection) -> list[int]:
    """The ids of all runs that a scan of the table or of its index finds, in ascending order."""
    ids: set[int] = set()
    for scan in SCANS:
        with suppress(sqlite3.DatabaseError):
            for (run_id,) in db.execute(scan):
                ids.add(run_id)
    return sorted(run_id for run_id in ids if isinstance(run_id, int))

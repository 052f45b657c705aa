"""Upgrade a store of betaplane 0.1, which had no digests, to the current schema."""

from __future__ import annotations

import sqlite3

from betaplane.maps.store.digest import with_digest
from betaplane.maps.store.run_record import VALUE_COLUMNS, is_valid_row
from betaplane.maps.store.schema import SCHEMA, TABLES, Identity
from betaplane.maps.store.sqlite import retry_while_locked, transaction

ABOUT = "fingerprint, problem, created, versions"


def upgrade(db: sqlite3.Connection, identity: Identity) -> int:
    """Add digests in one transaction; returns the number of unreadable rows that were deleted."""
    with transaction(db):
        retry_while_locked(lambda: db.execute("BEGIN IMMEDIATE"))
        if db.execute("PRAGMA user_version").fetchone() != (1,):  # another process was faster
            return 0
        for table in ("about", "meta", "runs"):
            db.execute(f"ALTER TABLE {table} ADD COLUMN digest TEXT")
        db.execute(next(text for text in TABLES.split(";") if "CREATE TABLE unfinished" in text))
        deleted = _add_digests(db)
        db.execute("DELETE FROM meta")  # measured speeds, which are measured again
        db.execute("UPDATE about SET fingerprint = ?", (identity.fingerprint,))
        about = db.execute(f"SELECT {ABOUT} FROM about").fetchone()
        db.execute("UPDATE about SET digest = ?", with_digest(about)[-1:])
        db.execute(f"PRAGMA user_version = {SCHEMA}")
    return deleted


def _add_digests(db: sqlite3.Connection) -> int:
    ids = [run_id for (run_id,) in db.execute("SELECT id FROM runs").fetchall()]
    select = f"SELECT {VALUE_COLUMNS} FROM runs WHERE id = ?"
    unreadable = []
    for run_id in ids:
        row = db.execute(select, (run_id,)).fetchone()
        if is_valid_row(row):
            digest = with_digest(row)[-1]
            db.execute("UPDATE runs SET digest = ? WHERE id = ?", (digest, run_id))
        else:
            unreadable.append((run_id,))
    db.executemany("DELETE FROM runs WHERE id = ?", unreadable)
    return len(unreadable)

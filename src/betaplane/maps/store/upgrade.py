"""Bring a store of betaplane 0.1, which had no digests, to the present form."""

from __future__ import annotations

import sqlite3

from betaplane.maps.store.digest import with_digest
from betaplane.maps.store.run_record import VALUES, readable
from betaplane.maps.store.schema import SCHEMA, TABLES, Identity
from betaplane.maps.store.sqlite import patiently, undone_where_it_fails

ABOUT = "fingerprint, problem, created, versions"


def upgrade(db: sqlite3.Connection, identity: Identity) -> int:
    """Add digests in one transaction; returns the number of rows that were dropped because they
    cannot be read.
    """
    with undone_where_it_fails(db):
        patiently(lambda: db.execute("BEGIN IMMEDIATE"))
        if db.execute("PRAGMA user_version").fetchone() != (1,):  # another process was faster
            return 0
        for table in ("about", "meta", "runs"):
            db.execute(f"ALTER TABLE {table} ADD COLUMN digest TEXT")
        db.execute(next(text for text in TABLES.split(";") if "CREATE TABLE unfinished" in text))
        dropped = _add_digests(db)
        db.execute("DELETE FROM meta")  # measured speeds, which are measured again
        db.execute("UPDATE about SET fingerprint = ?", (identity.fingerprint,))
        about = db.execute(f"SELECT {ABOUT} FROM about").fetchone()
        db.execute("UPDATE about SET digest = ?", with_digest(about)[-1:])
        db.execute(f"PRAGMA user_version = {SCHEMA}")
    return dropped


def _add_digests(db: sqlite3.Connection) -> int:
    numbers = [number for (number,) in db.execute("SELECT id FROM runs").fetchall()]
    broken = []
    for number in numbers:
        values = db.execute(f"SELECT {VALUES} FROM runs WHERE id = ?", (number,)).fetchone()
        if readable(values):
            db.execute("UPDATE runs SET digest = ? WHERE id = ?", (with_digest(values)[-1], number))
        else:
            broken.append((number,))
    db.executemany("DELETE FROM runs WHERE id = ?", broken)
    return len(broken)

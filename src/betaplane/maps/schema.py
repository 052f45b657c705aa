"""What the file of a store looks like: its tables, how it is made, and what is refused as no store of this problem."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.database import code, patiently, told, undone_where_it_fails

APPLICATION_ID = 0x62506C6E  # "bPln", in the header of every store
SCHEMA = 1  # user_version; raised when a table changes

TABLES = """
CREATE TABLE about (fingerprint TEXT NOT NULL, problem TEXT NOT NULL, created REAL NOT NULL, versions TEXT NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, seed INTEGER NOT NULL,
    steps INTEGER NOT NULL, initial REAL, final REAL, curve BLOB NOT NULL, seconds REAL, engine TEXT NOT NULL
);
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT NOT NULL, realm TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER,
    beat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (owner);
"""


def check_file(path: Path) -> None:
    """Refuse whatever is no store before anything can change it.

    SQLite reads the header itself: closing the file after an ordinary read would drop the locks of every other
    connection of this process (POSIX).
    """
    if path.is_dir():
        raise _refusal(path, "The store is a folder", "a file")
    if not path.exists() or path.stat().st_size == 0:  # empty: killed while it was being created
        return
    with told(path):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
        except sqlite3.DatabaseError as error:
            if code(error) == sqlite3.SQLITE_NOTADB:
                raise _refusal(path, "The file is not a store", "an SQLite file made by betaplane") from None
            if code(error) == sqlite3.SQLITE_CORRUPT:
                return  # as far as can be seen without its WAL: a checkpoint is under way, or was cut short
            raise
        finally:
            db.close()
    _check_application(path, application)


def _check_application(path: Path, application: int) -> None:
    if application != APPLICATION_ID:
        raise _refusal(path, "The file is another program's SQLite database", "an SQLite file made by betaplane")


def says(db: sqlite3.Connection) -> bool:
    """Whether the store says what it holds."""
    return bool(patiently(lambda: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone()))


def check_contents(db: sqlite3.Connection, path: Path, fingerprint: str, problem: str) -> None:
    """Refuse a store of a newer version, a damaged one, and one of another problem."""
    _check_application(path, *patiently(lambda: db.execute("PRAGMA application_id").fetchone()))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise BadInput(
            "The store was made by a newer betaplane",
            value=f"version {version}",
            allowed=f"versions up to {SCHEMA}",
            where=str(path),
            instead="pip install --upgrade betaplane",
        )
    try:
        found = patiently(lambda: db.execute("SELECT fingerprint, problem FROM about").fetchone())
    except sqlite3.OperationalError as error:
        if code(error) != sqlite3.SQLITE_ERROR:
            raise
        found = None  # no such table
    if found is None:
        raise _refusal(path, "The store is damaged: it does not say what it holds", "a whole store")
    if found[0] != fingerprint:
        raise BadInput(
            "The store holds another problem",
            value=f"{found[1]} ({found[0][:8]})",
            allowed=f"{problem} ({fingerprint[:8]})",
            where=str(path),
            instead="--store other.sqlite",
        )


def _refusal(path: Path, what: str, allowed: str) -> BadInput:
    return BadInput(what, value=str(path), allowed=allowed, where="--store", instead="--store other.sqlite")


def make_folder(path: Path) -> None:
    """Make the folder of a store, where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            "The store's folder cannot be made",
            value=error.strerror,
            allowed="a folder that can be written",
            where=str(path.parent),
            instead=f"--store {path.name}",
        ) from error


def create_where_empty(db: sqlite3.Connection, fingerprint: str, problem: str) -> None:
    """Write the tables, all or none, unless another process just did."""
    if not _empty(db):
        return
    # In rollback mode, before WAL: so the application id is in the file itself, where `check_file` looks.
    with undone_where_it_fails(db):
        db.execute("BEGIN EXCLUSIVE")
        if not _empty(db):
            return
        for statement in TABLES.split(";"):
            db.execute(statement)
        about = fingerprint, problem, time.time(), json.dumps(_versions())
        db.execute("INSERT INTO about VALUES (?,?,?,?)", about)
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3])), "sqlite": sqlite3.sqlite_version}
    for package in ("betaplane", "torch", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions

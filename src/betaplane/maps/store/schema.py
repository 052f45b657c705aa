"""What the file of a store looks like: its tables, how it is made, and what is refused as no store
of this problem.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.store.digest import whole, with_digest
from betaplane.maps.store.sqlite import code, patiently, told, undone_where_it_fails

APPLICATION_ID = 0x62506C6E  # "bPln", in the header of every store
SCHEMA = 2  # user_version; raised when a table changes. 1 (betaplane 0.1) had no digests

TABLES = """
CREATE TABLE about (
    fingerprint TEXT NOT NULL, problem TEXT NOT NULL, created REAL NOT NULL, versions TEXT NOT NULL, digest TEXT
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, seed INTEGER NOT NULL,
    steps INTEGER NOT NULL, initial REAL, final REAL, curve BLOB NOT NULL, seconds REAL, engine TEXT NOT NULL,
    digest TEXT
);
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT NOT NULL, realm TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER,
    beat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (owner);
CREATE TABLE unfinished (runs TEXT PRIMARY KEY, state BLOB NOT NULL, digest TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Identity:
    """The problem whose runs a store holds."""

    fingerprint: str  # tells it from any other problem
    problem: str  # its name, for people
    former: Callable[[], str] | None = None  # its fingerprint in betaplane 0.1; None: the same

    def of_version(self, version: int) -> str:
        """The fingerprint in a store of this version."""
        return self.former() if version == 1 and self.former is not None else self.fingerprint


def check_file(path: Path) -> None:
    """Refuse whatever is no store before anything can change it.

    SQLite reads the header itself: closing the file after an ordinary read would drop the locks of every other
    connection of this process (POSIX).
    """
    if path.is_dir():
        raise _refusal(path, "The store is a folder", "a file")
    if path.exists() and not path.is_file():
        raise _refusal(path, "The store is a device or a pipe", "a file")
    if not path.exists() or path.stat().st_size == 0:  # empty: killed while it was being created
        return
    with told(path):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
        except sqlite3.DatabaseError as error:
            if code(error) == sqlite3.SQLITE_NOTADB:
                raise _refusal(
                    path, "The file is not a store", "an SQLite file made by betaplane"
                ) from None
            if code(error) == sqlite3.SQLITE_CORRUPT:
                # as far as can be seen without its WAL: a checkpoint is under way, or was cut short
                return
            raise
        finally:
            db.close()
    _check_application(path, application)


def _check_application(path: Path, application: int) -> None:
    if application != APPLICATION_ID:
        raise _refusal(
            path,
            "The file is another program's SQLite database",
            "an SQLite file made by betaplane",
        )


def says(db: sqlite3.Connection) -> bool:
    """Whether the store says what it holds."""
    return bool(
        patiently(lambda: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone())
    )


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The store's version, 1 or 2; refuse a newer one, and a file whose tables are not of the
    version it states.
    """
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
    if patiently(lambda: _parts(db)) != _expected(version):
        raise _refusal(path, "The store is damaged: it does not say what it holds", "a whole store")
    return version


def _parts(db: sqlite3.Connection) -> set[tuple]:
    """Kind and name of everything in the file, and the columns of its tables."""
    parts = db.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    columns = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
    return {*parts, *db.execute(columns).fetchall()}


def _expected(version: int) -> set[tuple]:
    """The `_parts` of a whole store."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        parts = _parts(db)
    if version == 1:
        parts = {part for part in parts if "unfinished" not in part and part[1] != "digest"}
    return parts


def check_contents(
    db: sqlite3.Connection, path: Path, identity: Identity, *, salvage: bool = False
) -> int:
    """Refuse a damaged store and one of another problem; returns its version.

    With `salvage` what the store says of itself may be damaged, except the problem's fingerprint.
    """
    version = version_of(db, path)
    about = "fingerprint, problem, created, versions" + (", digest" if version > 1 else "")
    found = patiently(lambda: db.execute(f"SELECT {about} FROM about").fetchone())
    if found is None or (version > 1 and not salvage and not whole(found)):
        raise _refusal(path, "The store is damaged: it does not say what it holds", "a whole store")
    if found[0] != identity.of_version(version):
        raise BadInput(
            "The store holds another problem",
            value=f"{found[1]} ({str(found[0])[:8]})",
            allowed=f"{identity.problem} ({identity.fingerprint[:8]})",
            where=str(path),
            instead='store="other.sqlite"',
        )
    return version


def _refusal(path: Path, what: str, allowed: str) -> BadInput:
    return BadInput(
        what, value=str(path), allowed=allowed, where="store", instead='store="other.sqlite"'
    )


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
            instead=f'store="{path.name}"',
        ) from error


def create_where_empty(db: sqlite3.Connection, identity: Identity) -> None:
    """Write the tables, all or none, unless another process just did."""
    if not _empty(db):
        return
    # In rollback mode, before WAL: so the application id is in the file itself, where `check_file`
    # looks.
    with undone_where_it_fails(db):
        db.execute("BEGIN EXCLUSIVE")
        if not _empty(db):
            return
        for statement in TABLES.split(";"):
            db.execute(statement)
        about = identity.fingerprint, identity.problem, time.time(), json.dumps(_versions())
        db.execute("INSERT INTO about VALUES (?,?,?,?,?)", with_digest(about))
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def _versions() -> dict[str, str]:
    versions = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "sqlite": sqlite3.sqlite_version,
    }
    for package in ("betaplane", "torch", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions

"""The schema of a store: its tables, how they are created, and checks of existing files."""

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
from betaplane.maps.store.digest import is_intact, with_digest
from betaplane.maps.store.sqlite import (
    result_code,
    retry_while_locked,
    sqlite_errors_as_bad_input,
    transaction,
)

APPLICATION_ID = 0x62506C6E  # "bPln", in the header of every store
IMPORTED = "imported"  # start of the fingerprint of a store without a problem
SCHEMA = 2  # user_version; increased when a table changes. 1 (betaplane 0.1) had no digests
MADE_BY_BETAPLANE = "an SQLite file made by betaplane"
NO_DESCRIPTION = "The store is damaged: its description is missing"

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


class AnotherProblem(BadInput):
    """A store contains the runs of another problem."""


@dataclass(frozen=True)
class Identity:
    """The problem whose runs a store holds."""

    fingerprint: str  # a hash of the problem's definition and data
    problem: str  # its name, for messages
    former: Callable[[], str] | None = None  # its fingerprint in betaplane 0.1; None: the same

    def of_version(self, version: int) -> str:
        """The fingerprint in a store of this version."""
        return self.former() if version == 1 and self.former is not None else self.fingerprint


def check_file(path: Path) -> None:
    """Raise BadInput for a file that is not a store, before anything can change it.

    SQLite itself reads the header: closing the file after an ordinary read would release the locks
    of every other connection of this process (POSIX).
    """
    if path.is_dir():
        raise _bad_store(path, "The store is a folder", "a file")
    if path.exists() and not path.is_file():
        raise _bad_store(path, "The store is a device or a pipe", "a file")
    if not path.exists() or path.stat().st_size == 0:  # empty: killed while it was being created
        return
    with sqlite_errors_as_bad_input(path):
        application_id = _read_application_id(path)
    if application_id is not None:
        _check_application(path, application_id)


def _read_application_id(path: Path) -> int | None:
    """The application id in the file's header; None if it cannot be read without the WAL.

    That happens while a checkpoint is running, or after one was interrupted.
    """
    db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
    try:
        return db.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if result_code(error) == sqlite3.SQLITE_NOTADB:
            raise _bad_store(path, "The file is not a store", MADE_BY_BETAPLANE) from None
        if result_code(error) == sqlite3.SQLITE_CORRUPT:
            return None
        raise
    finally:
        db.close()


def _check_application(path: Path, application_id: int) -> None:
    if application_id != APPLICATION_ID:
        what = "The file is another program's SQLite database"
        raise _bad_store(path, what, MADE_BY_BETAPLANE)


def has_about(db: sqlite3.Connection) -> bool:
    """Whether the store has the table with its problem."""
    query = "SELECT 1 FROM sqlite_master WHERE name = 'about'"
    return bool(retry_while_locked(lambda: db.execute(query).fetchone()))


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The store's version, 1 or 2.

    Raises:
        BadInput: the version is newer, or the tables are not those of the stated version.
    """
    read_id = lambda: db.execute("PRAGMA application_id").fetchone()  # noqa: E731
    _check_application(path, *retry_while_locked(read_id))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise BadInput(
            "The store was made by a newer betaplane",
            value=f"version {version}",
            allowed=f"versions up to {SCHEMA}",
            where=str(path),
            instead="pip install --upgrade betaplane",
        )
    if retry_while_locked(lambda: _schema(db)) != _expected_schema(version):
        raise _bad_store(path, NO_DESCRIPTION, "an undamaged store")
    return version


def _schema(db: sqlite3.Connection) -> set[tuple]:
    """Type and name of everything in the file, and the columns of its tables."""
    objects = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    columns = (
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table'"
    )
    return {*db.execute(objects).fetchall(), *db.execute(columns).fetchall()}


def _expected_schema(version: int) -> set[tuple]:
    """The `_schema` of an undamaged store."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        schema = _schema(db)
    if version == 1:
        schema = {entry for entry in schema if "unfinished" not in entry and entry[1] != "digest"}
    return schema


def check_contents(
    db: sqlite3.Connection, path: Path, identity: Identity, *, salvage: bool = False
) -> int:
    """The version of an undamaged store of this problem.

    Args:
        db: a connection to the store.
        path: the file, for errors.
        identity: the problem.
        salvage: accept a damaged description, as long as the problem's fingerprint is intact.

    Raises:
        BadInput: the store is damaged or of another problem.
    """
    version = version_of(db, path)
    columns = "fingerprint, problem, created, versions" + (", digest" if version > 1 else "")
    about = retry_while_locked(lambda: db.execute(f"SELECT {columns} FROM about").fetchone())
    if about is None or (version > 1 and not salvage and not is_intact(about)):
        raise _bad_store(path, NO_DESCRIPTION, "an undamaged store")
    same = about[0] == identity.of_version(version) or is_imported(about[0])
    if not same and (salvage or not is_unused(db)):
        raise AnotherProblem(
            "The store contains another problem",
            value=f"{about[1]} ({str(about[0])[:8]})",
            allowed=f"{identity.problem} ({identity.fingerprint[:8]})",
            where=str(path),
            instead='store="other.sqlite"',
        )
    return version


def is_imported(fingerprint: object) -> bool:
    """Whether a store has imported runs and no problem yet."""
    return str(fingerprint).startswith(IMPORTED)


def is_unused(db: sqlite3.Connection) -> bool:
    """Whether a store has no run, and no process trains one for it.

    A first command with a mistake in it leaves such a store; the corrected one is another problem.
    """
    query = "SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM claims)"
    return retry_while_locked(lambda: db.execute(query).fetchone()) == (0,)


def adopt(db: sqlite3.Connection, identity: Identity) -> None:
    """Make a store of imported runs, or one without runs, a store of a problem."""
    with transaction(db):
        retry_while_locked(lambda: db.execute("BEGIN IMMEDIATE"))
        about = db.execute("SELECT fingerprint, problem, created, versions FROM about").fetchone()
        imported = is_imported(about[0])
        if imported or (about[0] != identity.fingerprint and is_unused(db)):
            if not imported:  # such as the speeds of the other problem
                db.execute("DELETE FROM meta")
            adopted = with_digest((identity.fingerprint, identity.problem, *about[2:]))
            db.execute("DELETE FROM about")
            db.execute("INSERT INTO about VALUES (?,?,?,?,?)", adopted)


def _bad_store(path: Path, what: str, allowed: str) -> BadInput:
    return BadInput(
        what, value=str(path), allowed=allowed, where="store", instead='store="other.sqlite"'
    )


def make_folder(path: Path) -> None:
    """Create the folder of a store if it does not exist."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            "The store's folder cannot be created",
            value=error.strerror,
            allowed="a folder that can be written",
            where=str(path.parent),
            instead=f'store="{path.name}"',
        ) from error


def create_tables(db: sqlite3.Connection, identity: Identity) -> None:
    """Create all tables of an empty store in one transaction, unless another process just did."""
    if not _is_empty(db):
        return
    # In rollback mode, before WAL, so that the application id is in the file itself, which
    # `check_file` reads.
    with transaction(db):
        db.execute("BEGIN EXCLUSIVE")
        if not _is_empty(db):
            return
        for statement in TABLES.split(";"):
            db.execute(statement)
        about = identity.fingerprint, identity.problem, time.time(), json.dumps(_versions())
        db.execute("INSERT INTO about VALUES (?,?,?,?,?)", with_digest(about))
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _is_empty(db: sqlite3.Connection) -> bool:
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

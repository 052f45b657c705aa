"""Claims on runs in a store, which exclude each other between processes."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.store.lease import UNRELEASED_OWNERS, Owner
from betaplane.maps.store.sqlite import (
    retry_while_locked,
    sqlite_errors_as_bad_input,
    transaction,
)


class Claims:
    """A connection to a store, and the runs that are claimed through it."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self.path = path
        self._lock = threading.RLock()  # one connection, perhaps also used by a heartbeat thread
        self._owners: set[Owner] = set()

    def close(self) -> None:
        """Release what was claimed through this store and close the file; closing twice is fine."""
        with self._lock:
            for owner in tuple(self._owners):
                try:
                    self.release(owner)
                except BadInput:
                    # The disk is full. This process takes its claims over immediately, others do
                    # when it ends.
                    UNRELEASED_OWNERS.add(owner.token)
            self._owners.clear()
            self._db.close()

    def rows(self, query: str, values: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        with self._lock, sqlite_errors_as_bad_input(self.path):
            return retry_while_locked(lambda: self._db.execute(query, values).fetchall())

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable if the block succeeds, rolled back if it raises."""
        with self._lock, sqlite_errors_as_bad_input(self.path), transaction(self._db):
            retry_while_locked(lambda: self._db.execute("BEGIN IMMEDIATE"))
            yield self._db

    def claim(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """The subset of `keys` that `owner` may train now, claimed in one atomic step.

        Not granted are finished runs and those of another living owner. Runs of dead owners are
        taken over; claims that the owner already has are granted again. Closing this store releases
        the owner.
        """
        wanted = set(keys)
        with self.writing() as db:
            self._owners.add(owner)
            _write_beat(db, owner)
            _delete_dead_owners(db, owner)
            db.execute(
                "INSERT INTO claims SELECT value, ? FROM json_each(?)"
                " WHERE value NOT IN (SELECT key FROM runs) ON CONFLICT (key) DO NOTHING",
                (owner.token, *json_list(wanted)),
            )
            claimed = db.execute(
                "SELECT key FROM claims WHERE owner = ? AND key IN (SELECT value FROM json_each(?))",
                (owner.token, *json_list(wanted)),
            )
            return {key for (key,) in claimed.fetchall()}

    def claimed_elsewhere(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """The subset of `keys` that another living owner is training now."""
        living = {other.token for other, alive in self._owners_alive() if alive and other != owner}
        claims = self.rows(
            "SELECT key, owner FROM claims WHERE key IN (SELECT value FROM json_each(?))",
            json_list(set(keys)),
        )
        return {key for key, token in claims if token in living}

    def release(self, owner: Owner) -> None:
        """Release every claim of `owner` that is not finished."""
        with self.writing() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (owner.token,))
            db.execute("DELETE FROM owners WHERE token = ?", (owner.token,))
        self._owners.discard(owner)

    def beat(self, owner: Owner) -> None:
        """Record that `owner` is alive.

        Needed every `LEASE_SECONDS` if other processes cannot look its process up.
        """
        with self.writing() as db:
            _write_beat(db, owner)

    def _owners_alive(self) -> list[tuple[Owner, bool]]:
        with self._lock, sqlite_errors_as_bad_input(self.path):
            return retry_while_locked(lambda: _read_owners(self._db))


def json_list(keys: Iterable[str]) -> tuple[str]:
    """Any number of keys as one value for SQLite's json_each."""
    return (json.dumps(list(keys)),)


def _write_beat(db: sqlite3.Connection, owner: Owner) -> None:
    db.execute("INSERT OR REPLACE INTO owners VALUES (?,?,?,?,?,?)", (*astuple(owner), time.time()))


def _delete_dead_owners(db: sqlite3.Connection, owner: Owner) -> None:
    for other, alive in _read_owners(db):
        if not alive and other != owner:
            db.execute("DELETE FROM owners WHERE token = ?", (other.token,))
    db.execute("DELETE FROM claims WHERE owner NOT IN (SELECT token FROM owners)")


def _read_owners(db: sqlite3.Connection) -> list[tuple[Owner, bool]]:
    """Every known owner and whether it is alive; an owner whose row is damaged is not."""
    rows = db.execute("SELECT token, host, realm, pid, started, beat FROM owners").fetchall()
    owners = [(Owner(*row[:-1]), row) for row in rows]
    return [(owner, _is_valid(row) and owner.alive(row[-1])) for owner, row in owners]


def _is_valid(row: tuple) -> bool:
    _, _, _, pid, started, beat = row
    has_ticks = started is None or isinstance(started, int)
    return isinstance(pid, int) and isinstance(beat, float) and has_ticks

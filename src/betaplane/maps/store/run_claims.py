"""Who trains which run: claims in a store, which exclude each other between processes."""

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
from betaplane.maps.store.lease import GONE, Owner
from betaplane.maps.store.sqlite import patiently, told, undone_where_it_fails


class Claims:
    """A connection to a store, and the runs that are claimed through it."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self.path = db, path
        self._lock = threading.RLock()  # one connection, perhaps with a thread that beats
        self._owners: set[Owner] = set()

    def close(self) -> None:
        """Release what was claimed through this store and close the file; closing twice is fine."""
        with self._lock:
            for owner in tuple(self._owners):
                try:
                    self.release(owner)
                except BadInput:  # a full disk: others take the claims over when this process ends, itself at once
                    GONE.add(owner.token)
            self._owners.clear()
            self._db.close()

    def rows(self, question: str, values: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        with self._lock, told(self.path):
            return patiently(lambda: self._db.execute(question, values).fetchall())

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable where it ends well, undone where it does not."""
        with self._lock, told(self.path), undone_where_it_fails(self._db):
            patiently(lambda: self._db.execute("BEGIN IMMEDIATE"))
            yield self._db

    def claim(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """Those of `keys` that `owner` may train now, in one atomic step.

        Left out: finished runs and those of another owner that lives. Runs of dead owners are taken over; what the
        owner holds already is granted again. Closing this store releases the owner.
        """
        wanted = set(keys)
        with self.writing() as db:
            self._owners.add(owner)
            _beat(db, owner)
            for dead in (one.token for one, alive in _owners(db) if not alive and one != owner):
                db.execute("DELETE FROM owners WHERE token = ?", (dead,))
            db.execute("DELETE FROM claims WHERE owner NOT IN (SELECT token FROM owners)")
            db.execute(
                "INSERT INTO claims SELECT value, ? FROM json_each(?) WHERE value NOT IN (SELECT key FROM runs)"
                " ON CONFLICT (key) DO NOTHING",
                (owner.token, *listed(wanted)),
            )
            held = db.execute("SELECT key FROM claims WHERE owner = ?", (owner.token,)).fetchall()
        return wanted.intersection(key for (key,) in held)

    def claimed_elsewhere(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """Those of `keys` that another living owner is training now: wait for them, or do others."""
        wanted = set(keys)
        alive = {one.token for one, lives in self._known_owners() if lives and one != owner}
        held = self.rows(
            "SELECT key, owner FROM claims WHERE key IN (SELECT value FROM json_each(?))",
            listed(wanted),
        )
        return {key for key, token in held if token in alive}

    def release(self, owner: Owner) -> None:
        """Give back whatever `owner` has claimed and not finished."""
        with self.writing() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (owner.token,))
            db.execute("DELETE FROM owners WHERE token = ?", (owner.token,))
        self._owners.discard(owner)

    def beat(self, owner: Owner) -> None:
        """Say that `owner` is alive; needed every `LEASE` seconds only where others cannot look it
        up.
        """
        with self.writing() as db:
            _beat(db, owner)

    def _known_owners(self) -> list[tuple[Owner, bool]]:
        with self._lock, told(self.path):
            return patiently(lambda: _owners(self._db))


def listed(keys: Iterable[str]) -> tuple[str]:
    """Any number of keys as one value for SQLite's json_each."""
    return (json.dumps(list(keys)),)


def _beat(db: sqlite3.Connection, owner: Owner) -> None:
    db.execute("INSERT OR REPLACE INTO owners VALUES (?,?,?,?,?,?)", (*astuple(owner), time.time()))


def _owners(db: sqlite3.Connection) -> list[tuple[Owner, bool]]:
    """Every owner known and whether it is alive; one whose row is damaged is not."""
    rows = db.execute("SELECT token, host, realm, pid, started, beat FROM owners").fetchall()
    return [(owner := Owner(*row[:-1]), _sound(row) and owner.alive(row[-1])) for row in rows]


def _sound(row: tuple) -> bool:
    _, _, _, pid, started, beat = row
    return (
        isinstance(pid, int)
        and isinstance(beat, float)
        and (started is None or isinstance(started, int))
    )

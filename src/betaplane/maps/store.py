"""Results of trainings on disk: an SQLite file that survives kills and full disks and is shared by processes.

WAL with synchronous=FULL: what `Store.finish` was given is on the disk when it returns. Readers and one writer at a
time, from any number of processes of one machine (WAL needs shared memory: on several machines let each write its
own store, then `Store.merge`). After a kill or on a full disk the newest runs lie in the `-wal` file beside the store:
move the two together. Opening and closing the store folds it in again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from betaplane.errors import BadInput
from betaplane.maps.database import connected, frozen, patiently, told, undone_where_it_fails
from betaplane.maps.owner import GONE, Owner
from betaplane.maps.record import COLUMNS, Record, record_of, row_of
from betaplane.maps.schema import check_contents, check_file, create_where_empty, make_folder, says

PAGE = 1000  # runs read, or merged, at a time


@dataclass(frozen=True)
class Status:
    """What a store holds."""

    path: Path
    problem: str
    runs: int  # finished
    claimed_alive: int  # runs under way
    claimed_dead: int  # runs whose owner died; the next claim takes them
    owners_alive: int
    owners_dead: int
    seconds: float  # of training, summed over finished runs
    created: datetime  # in UTC
    versions: Mapping[str, str]  # of what created it

    @property
    def claimed(self) -> int:
        """Runs claimed and not finished."""
        return self.claimed_alive + self.claimed_dead


class Store:
    """Finished trainings of one problem, in one SQLite file.

    Several processes may use one store at once: each claims runs before it trains them, so that none is trained
    twice, and the claims of a process that died are taken over by the next claim.

    Example:
        >>> import tempfile, numpy as np
        >>> from betaplane.maps.record import run_key
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Store.open(f"{folder.name}/map.sqlite", fingerprint="1f3a", problem="digits") as store:
        ...     settings, me = {"beta1": 0.9, "beta2": 0.999}, Owner.here()
        ...     key = run_key(settings, seed=0, steps=100)
        ...     granted = store.claim([key], me)
        ...     curve = np.array([2.3, 0.2], np.float32)
        ...     stored = store.finish([Record(key, settings, 0, 100, 2.3, 0.2, curve, 0.1, "loop")])
        ...     granted == {key}, stored, len(store), store.load([key])[key].final
        (True, 1, 1, 0.2)
        >>> folder.cleanup()
    """

    def __init__(self, db: sqlite3.Connection, path: Path, fingerprint: str, problem: str) -> None:
        """Take over a connection that `open` has checked."""
        self._db, self.path, self.fingerprint, self.problem = db, path, fingerprint, problem
        self._lock = threading.RLock()  # one connection, perhaps with a thread that beats
        self._owners: set[Owner] = set()

    @classmethod
    def open(cls, path: str | Path, fingerprint: str, problem: str) -> Self:
        """Open the store at `path`, or create it and its folders.

        Args:
            path: the file.
            fingerprint: what tells this problem from any other (a hash of its definition and data).
            problem: its name, for people.

        Raises:
            BadInput: the file is no store, is damaged, is of a newer betaplane or of another problem, or cannot be
                written. Nothing on disk was changed.

        Example:
            >>> import tempfile
            >>> folder = tempfile.TemporaryDirectory()
            >>> Store.open(f"{folder.name}/map.sqlite", "1f3a", "digits").close()
            >>> try:
            ...     Store.open(f"{folder.name}/map.sqlite", "77c0", "text")
            ... except BadInput as error:
            ...     print(error.what, "-", error.instead)
            The store holds another problem - --store other.sqlite
            >>> folder.cleanup()
        """
        path = Path(path)
        check_file(path)
        make_folder(path)
        with told(path), connected(path) as db:
            patiently(lambda: create_where_empty(db, fingerprint, problem))
            check_contents(db, path, fingerprint, problem)
            patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
            return cls(db, path, fingerprint, problem)

    @classmethod
    def reopen(cls, path: str | Path) -> Self:
        """Open a store that exists, whatever problem it holds, to read from it.

        Args:
            path: the file.

        Raises:
            BadInput: as `open`; also when there is no such file.
        """
        path = Path(path)
        if not path.exists() or path.stat().st_size == 0:
            raise BadInput("There is no such store", value=str(path), where="--map", instead="betaplane map digits")
        check_file(path)
        with told(path), connected(path, frozen=frozen(path)) as db:
            about = "SELECT fingerprint, problem FROM about" if says(db) else "SELECT '', ''"
            fingerprint, problem = patiently(lambda: db.execute(about).fetchone()) or ("", "")
            check_contents(db, path, fingerprint, problem)
            return cls(db, path, fingerprint, problem)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._rows("SELECT count(*) FROM runs")[0][0]

    def __bool__(self) -> bool:
        return True  # an empty store is a store

    # Results

    def load(self, keys: Iterable[str]) -> dict[str, Record]:
        """The finished runs among `keys`."""
        rows = self._rows(f"SELECT {COLUMNS} FROM runs WHERE key IN (SELECT value FROM json_each(?))", _listed(keys))
        return {row[0]: record_of(row) for row in rows}

    def all(self) -> Iterator[Record]:
        """Every finished run, in the order they were finished; runs finished meanwhile come too."""
        for page in self._pages():
            yield from page

    def finish(self, records: Iterable[Record]) -> int:
        """Keep results: they are on disk when this returns. Returns how many were new.

        One transaction: all or none. Their claims end. A run that is already there is never overwritten.

        Raises:
            BadInput: the disk is full or broken; none of these records was kept, all earlier ones are.
        """
        rows = [row_of(record) for record in records]
        with self._writing() as db:
            before = db.total_changes
            db.executemany(
                f"INSERT INTO runs ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING", rows
            )
            new = db.total_changes - before
            db.executemany("DELETE FROM claims WHERE key = ?", [row[:1] for row in rows])
        return new

    def merge(self, other: str | Path) -> int:
        """Copy the finished runs of another store of the same problem; returns how many were new.

        Raises:
            BadInput: as `open`; also when there is no such file.
        """
        other = Path(other)
        if not other.exists() or other.stat().st_size == 0:
            raise BadInput("There is no store to merge", value=str(other), where="merge", instead=f"ls {other.parent}")
        check_file(other)
        with told(other), connected(other, frozen=frozen(other)) as db:
            check_contents(db, other, self.fingerprint, self.problem)
            source = type(self)(db, other, self.fingerprint, self.problem)
        with source:
            return sum(self.finish(page) for page in source._pages())

    # Claims

    def claim(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """Those of `keys` that `owner` may train now, in one atomic step.

        Left out: finished runs and those of another owner that lives. Runs of dead owners are taken over; what the
        owner holds already is granted again. Closing this store releases the owner.
        """
        wanted = set(keys)
        with self._writing() as db:
            self._owners.add(owner)
            _beat(db, owner)
            for dead in (one.token for one, alive in _owners(db) if not alive and one != owner):
                db.execute("DELETE FROM claims WHERE owner = ?", (dead,))
                db.execute("DELETE FROM owners WHERE token = ?", (dead,))
            db.execute(
                "INSERT INTO claims SELECT value, ? FROM json_each(?) WHERE value NOT IN (SELECT key FROM runs)"
                " ON CONFLICT (key) DO NOTHING",
                (owner.token, *_listed(wanted)),
            )
            held = db.execute("SELECT key FROM claims WHERE owner = ?", (owner.token,)).fetchall()
        return wanted.intersection(key for (key,) in held)

    def claimed_elsewhere(self, keys: Iterable[str], owner: Owner) -> set[str]:
        """Those of `keys` that another living owner is training now: wait for them, or do others."""
        wanted = set(keys)
        alive = {one.token for one, lives in self._known_owners() if lives and one != owner}
        held = self._rows(
            "SELECT key, owner FROM claims WHERE key IN (SELECT value FROM json_each(?))", _listed(wanted)
        )
        return {key for key, token in held if token in alive}

    def release(self, owner: Owner) -> None:
        """Give back whatever `owner` has claimed and not finished."""
        with self._writing() as db:
            db.execute("DELETE FROM claims WHERE owner = ?", (owner.token,))
            db.execute("DELETE FROM owners WHERE token = ?", (owner.token,))
        self._owners.discard(owner)

    def beat(self, owner: Owner) -> None:
        """Say that `owner` is alive; needed every `LEASE` seconds only where others cannot look it up."""
        with self._writing() as db:
            _beat(db, owner)

    # About

    @property
    def meta(self) -> Meta:
        """Small values kept beside the runs, such as a map's own options."""
        return Meta(self)

    def status(self) -> Status:
        """What is finished, what is claimed, and how the store came about."""
        lives = {one.token: alive for one, alive in self._known_owners()}
        held = dict(self._rows("SELECT owner, count(*) FROM claims GROUP BY owner"))
        under_way = sum(count for token, count in held.items() if lives.get(token))
        ((runs, seconds),) = self._rows("SELECT count(*), total(seconds) FROM runs")
        ((created, versions),) = self._rows("SELECT created, versions FROM about")
        return Status(
            path=self.path,
            problem=self.problem,
            runs=runs,
            claimed_alive=under_way,
            claimed_dead=sum(held.values()) - under_way,
            owners_alive=sum(lives.values()),
            owners_dead=len(lives) - sum(lives.values()),
            seconds=seconds,
            created=datetime.fromtimestamp(created, UTC),
            versions=json.loads(versions),
        )

    # Inside

    def _rows(self, question: str, values: tuple = ()) -> list[tuple]:
        with self._lock, told(self.path):
            return patiently(lambda: self._db.execute(question, values).fetchall())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable where it ends well, undone where it does not."""
        with self._lock, told(self.path), undone_where_it_fails(self._db):
            patiently(lambda: self._db.execute("BEGIN IMMEDIATE"))
            yield self._db

    def _pages(self) -> Iterator[list[Record]]:
        """Runs in pages, so that no read is open while the caller works."""
        last = 0
        while rows := self._rows(f"SELECT id, {COLUMNS} FROM runs WHERE id > ? ORDER BY id LIMIT {PAGE}", (last,)):
            yield [record_of(row[1:]) for row in rows]
            last = rows[-1][0]

    def _known_owners(self) -> list[tuple[Owner, bool]]:
        with self._lock, told(self.path):
            return patiently(lambda: _owners(self._db))


class Meta(MutableMapping[str, Any]):
    """Small JSON values in a store, as a dict; every change is durable at once.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Store.open(f"{folder.name}/map.sqlite", "1f3a", "digits") as store:
        ...     store.meta["thresholds"] = {"good": 0.05, "failing": 0.5}
        ...     store.meta["thresholds"]["good"], "seeds" in store.meta
        (0.05, False)
        >>> folder.cleanup()
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Any:
        rows = self._store._rows("SELECT value FROM meta WHERE name = ?", (name,))
        if not rows:
            raise KeyError(name)
        return json.loads(rows[0][0])

    def __setitem__(self, name: str, value: Any) -> None:
        text = json.dumps(value)
        with self._store._writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))

    def __delitem__(self, name: str) -> None:
        with self._store._writing() as db:
            if not db.execute("DELETE FROM meta WHERE name = ?", (name,)).rowcount:
                raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for (name,) in self._store._rows("SELECT name FROM meta ORDER BY name")])

    def __len__(self) -> int:
        return self._store._rows("SELECT count(*) FROM meta")[0][0]


def _listed(keys: Iterable[str]) -> tuple[str]:
    """Any number of keys as one value for SQLite's json_each."""
    return (json.dumps(list(keys)),)


def _beat(db: sqlite3.Connection, owner: Owner) -> None:
    db.execute("INSERT OR REPLACE INTO owners VALUES (?,?,?,?,?,?)", (*astuple(owner), time.time()))


def _owners(db: sqlite3.Connection) -> list[tuple[Owner, bool]]:
    """Every owner known and whether it is alive."""
    rows = db.execute("SELECT token, host, realm, pid, started, beat FROM owners").fetchall()
    return [(owner := Owner(*row[:-1]), owner.alive(row[-1])) for row in rows]

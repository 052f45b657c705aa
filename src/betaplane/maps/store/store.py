"""Results of trainings on disk: an SQLite file that survives kills and full disks and is shared by
processes.

WAL with synchronous=FULL: what `Store.finish` was given is on the disk when it returns. Readers and
one writer at a time, from any number of processes of one machine (WAL needs shared memory: on
several machines let each write its own store, then `Store.merge`). After a kill or on a full disk
the newest runs lie in the `-wal` file beside the store: move the two together. Opening and closing
the store folds it in again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Self

from betaplane.errors import BadInput
from betaplane.maps.store.digest import with_digest
from betaplane.maps.store.meta import Meta
from betaplane.maps.store.run_claims import Claims, listed
from betaplane.maps.store.run_record import COLUMNS, VALUES, Record, readable, record_of, row_of
from betaplane.maps.store.salvage import every_id
from betaplane.maps.store.schema import (
    SCHEMA,
    Identity,
    check_contents,
    check_file,
    create_where_empty,
    make_folder,
    says,
)
from betaplane.maps.store.sqlite import code, connected, frozen, patiently, told
from betaplane.maps.store.upgrade import upgrade

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


class Store(Claims):
    """Finished trainings of one problem, in one SQLite file.

    Several processes may use one store at once: each claims runs before it trains them, so that none is trained
    twice, and the claims of a process that died are taken over by the next claim.

    Example:
        >>> import tempfile, numpy as np
        >>> from betaplane.maps.store.lease import Owner
        >>> from betaplane.maps.store.run_record import run_key
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

    def __init__(
        self, db: sqlite3.Connection, path: Path, identity: Identity, version: int = SCHEMA
    ) -> None:
        """Take over a connection that `open` has checked."""
        super().__init__(db, path)
        self.identity, self._version = identity, version
        self.damaged = 0  # runs that were found to be damaged and are trained again

    @classmethod
    def open(
        cls,
        path: str | Path,
        fingerprint: str,
        problem: str,
        former: Callable[[], str] | None = None,
    ) -> Self:
        """Open the store at `path`, or create it and its folders.

        Args:
            path: the file.
            fingerprint: what tells this problem from any other (a hash of its definition and data).
            problem: its name, for people.
            former: returns the problem's fingerprint as betaplane 0.1 made it; None: the same.

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
        path, identity = Path(path), Identity(fingerprint, problem, former)
        check_file(path)
        make_folder(path)
        with told(path), connected(path) as db:
            patiently(lambda: create_where_empty(db, identity))
            version = check_contents(db, path, identity)
            patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
            store = cls(db, path, identity)
            store.damaged = upgrade(db, identity) if version < SCHEMA else 0
            return store

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
            raise BadInput(
                "There is no such store",
                value=str(path),
                where="map",
                instead="betaplane map digits",
            )
        check_file(path)
        with told(path), connected(path, frozen=frozen(path)) as db:
            about = "SELECT fingerprint, problem FROM about" if says(db) else "SELECT '', ''"
            fingerprint, problem = patiently(lambda: db.execute(about).fetchone()) or ("", "")
            identity = Identity(fingerprint, problem)
            return cls(db, path, identity, check_contents(db, path, identity))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def problem(self) -> str:
        """The name of the problem whose runs it holds."""
        return self.identity.problem

    def __len__(self) -> int:
        return self.rows("SELECT count(*) FROM runs")[0][0]

    def __bool__(self) -> bool:
        return True  # an empty store is a store

    # Results

    def load(self, keys: Iterable[str]) -> dict[str, Record]:
        """The finished runs among `keys`; damaged ones are set aside, to be trained again."""
        found = {}
        for some in _portions(keys):
            records, broken = self._read("key", some)
            found |= {record.key: record for record in records}
            found |= self._set_aside(broken)
        return found

    def all(self) -> Iterator[Record]:
        """Every finished run, in the order they were finished; runs finished meanwhile come too."""
        last = 0
        while page := self.rows(
            f"SELECT id FROM runs WHERE id > ? ORDER BY id LIMIT {PAGE}", (last,)
        ):
            last = page[-1][0]
            records, broken = self._read("id", [number for (number,) in page])
            self.damaged += len(broken)
            yield from records

    def finish(self, records: Iterable[Record], chunk: str = "") -> int:
        """Keep results: they are on disk when this returns. Returns how many were new.

        One transaction: all or none. Their claims end, and the saved state of the chunk they were trained in is
        removed. A run that is already there is never overwritten.

        Raises:
            BadInput: the disk is full or broken; none of these records was kept, all earlier ones are.
        """
        rows = [row_of(record) for record in records]
        with self.writing() as db:
            before = db.total_changes
            db.executemany(
                f"INSERT INTO runs ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING",
                rows,
            )
            new = db.total_changes - before
            db.executemany("DELETE FROM claims WHERE key = ?", [row[:1] for row in rows])
            db.execute("DELETE FROM unfinished WHERE runs = ?", (chunk,))
        return new

    def merge(self, other: str | Path) -> int:
        """Copy the finished runs of another store of the same problem; returns how many were new.

        Of a damaged store the runs that are whole are copied.

        Raises:
            BadInput: as `open`; also when there is no such file.
        """
        other = Path(other)
        if not other.exists() or other.stat().st_size == 0:
            raise BadInput(
                "There is no store to merge",
                value=str(other),
                where="merge",
                instead=f"ls {other.parent}",
            )
        check_file(other)
        with told(other), connected(other, frozen=frozen(other)) as db:
            version = check_contents(db, other, self.identity, salvage=True)
            source = type(self)(db, other, self.identity, version)
        with source:
            new = sum(
                self.finish(source._readable(some)) for some in _portions(every_id(source._db))
            )
        self.damaged += source.damaged
        return new

    # About

    @property
    def meta(self) -> Meta:
        """Small values kept beside the runs, such as a map's own options."""
        return Meta(self)

    def status(self) -> Status:
        """What is finished, what is claimed, and how the store came about."""
        lives = {one.token: alive for one, alive in self._known_owners()}
        held = dict(self.rows("SELECT owner, count(*) FROM claims GROUP BY owner"))
        under_way = sum(count for token, count in held.items() if lives.get(token))
        ((runs, seconds),) = self.rows("SELECT count(*), total(seconds) FROM runs")
        ((created, versions),) = self.rows("SELECT created, versions FROM about")
        return Status(
            path=self.path,
            problem=self.identity.problem,
            runs=runs,
            claimed_alive=under_way,
            claimed_dead=sum(held.values()) - under_way,
            owners_alive=sum(lives.values()),
            owners_dead=len(lives) - sum(lives.values()),
            seconds=seconds,
            created=datetime.fromtimestamp(created, UTC),
            versions=_versions(versions),
        )

    # Inside

    def _read(self, column: str, values: list) -> tuple[list[Record], list]:
        """The records whose `column` is one of `values`, and those of the values whose row is
        damaged.
        """
        question = (
            f"SELECT {column}, {COLUMNS if self._version > 1 else VALUES} FROM runs WHERE {column} "
        )
        try:
            rows = self.rows(
                f"{question} IN (SELECT value FROM json_each(?)) ORDER BY id", listed(values)
            )
        except BadInput as error:
            if len(values) == 1 and code(error.__cause__) == sqlite3.SQLITE_TOOBIG:
                return [], values
            if code(error.__cause__) != sqlite3.SQLITE_TOOBIG:
                raise
            each = [self._read(column, [value]) for value in values]
            return [r for records, _ in each for r in records], [
                v for _, broken in each for v in broken
            ]
        found = [(row[0], self._record(row[1:])) for row in rows]
        return [record for _, record in found if record], [
            value for value, record in found if not record
        ]

    def _record(self, row: tuple) -> Record | None:
        if self._version == 1 and readable(row):  # betaplane 0.1 wrote no digests
            return record_of(with_digest(row))
        return record_of(row)

    def _set_aside(self, keys: list[str]) -> dict[str, Record]:
        """Delete damaged rows; returns the records that were whole after all, behind a damaged
        index.
        """
        if not keys:
            return {}
        if self._version > 1 and not frozen(self.path):
            with self.writing() as db:
                db.execute("REINDEX runs")
            records, keys = self._read("key", keys)
            with self.writing() as db:
                db.executemany("DELETE FROM runs WHERE key = ?", [(key,) for key in keys])
        else:
            records = []
        self.damaged += len(keys)
        return {record.key: record for record in records}

    def _readable(self, numbers: list[int]) -> Iterator[Record]:
        """The whole records with these ids, read one by one: what cannot be read is skipped."""
        for number in numbers:
            try:
                records, _ = self._read("id", [number])
            except BadInput:
                records = []
            self.damaged += not records
            yield from records


def _versions(text: str) -> dict[str, str]:
    """What created the store, read from a row that `open` found whole; of a store of betaplane 0.1,
    as far as it is.
    """
    try:
        versions = json.loads(text)
    except ValueError:
        versions = {}
    return versions if isinstance(versions, dict) else {}


def _portions(values: Iterable) -> Iterator[list]:
    """The values in lists of at most `PAGE`."""
    values = iter(values)
    while some := list(islice(values, PAGE)):
        yield some

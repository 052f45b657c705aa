"""Results of trainings on disk: an SQLite file that survives kills and full disks and is shared by processes.

WAL with synchronous=FULL: what `Store.finish` was given is on the disk when it returns. Readers and one writer at a
time, from any number of processes of one machine (WAL needs shared memory: on several machines let each write its
own store, then `Store.merge`). After a kill or on a full disk the newest runs lie in the `-wal` file beside the store:
move the two together. Opening and closing the store folds it in again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import socket
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from betaplane.errors import BadInput

__all__ = ["Meta", "Owner", "Record", "Status", "Store", "run_key"]

APPLICATION_ID = 0x62506C6E  # "bPln", in the header of every store
SCHEMA = 1  # user_version; raised when a table changes
LEASE = 120.0  # seconds without a beat after which an owner that cannot be looked up is dead
PATIENCE = 60.0  # seconds to wait for another process's lock
BUSY = 1.0  # seconds of it spent inside SQLite, where Ctrl-C is not heard
PAGE = 1000  # runs read, or merged, at a time

GONE: set[str] = set()  # owners of this process that could not give back what they held: the disk was full

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
COLUMNS = "key, settings, seed, steps, initial, final, curve, seconds, engine"

T = TypeVar("T")


def run_key(settings: Mapping[str, float | str | int], seed: int, steps: int, **more: object) -> str:
    """A name for one training: 32 hex digits that depend on what is trained, not on how it is written down.

    The order of `settings` does not matter, nor does 16 or 16.0. `more` is anything else that changes the result, as
    JSON (a rule's name, a batch order).

    Raises:
        BadInput: a value that is neither number, text, None nor a list or dict of them; a seed over 63 bits.

    Example:
        >>> run_key({"beta2": 0.999, "batch_size": 16}, seed=0, steps=100, rule="adam")
        '1549c420c92747accb2c3a0d977538c8'
        >>> run_key({"batch_size": 16.0, "beta2": 0.999}, 0, 100, rule="adam") == _
        True
    """
    if not -(2**63) <= seed < 2**63:
        raise BadInput(
            "The seed is too large", value=seed, allowed="[-2**63, 2**63)", where="run_key", instead="seed=0"
        )
    parts = {"settings": settings, "seed": seed, "steps": steps, "more": more}
    text = json.dumps(_canonical(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """The same for equal values: numbers as floats (whole numbers over 2**53 as they are), dicts and lists inside."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value + 0.0 if isinstance(value, float) or abs(value) <= 2**53 else value  # + 0.0: -0.0 is 0.0
    if isinstance(value, Mapping):
        return {str(name): _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    raise BadInput(
        "A run is told apart by numbers and text only",
        value=value,
        allowed="float, int, str, bool, None, list, dict",
        where="run_key",
        instead='{"beta2": 0.999}',
    )


@dataclass(frozen=True, eq=False)  # eq: arrays and nan have no useful ==; compare keys
class Record:
    """One finished training."""

    key: str  # see `run_key`
    settings: Mapping[str, float | str | int]
    seed: int
    steps: int  # optimizer steps asked for
    initial: float  # loss before training
    final: float  # loss after training; inf or nan where it diverged
    curve: np.ndarray = field(repr=False)  # float32, (points,), loss over training; short where it diverged
    seconds: float = math.nan  # this run's share of the wall clock
    engine: str = ""  # what trained it


def _row(record: Record) -> tuple:
    """A record as values of `COLUMNS`; SQLite keeps nan as NULL by itself."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged loss may not fit in float32: inf
        curve = np.asarray(record.curve).astype("<f4")
    if curve.ndim != 1:
        raise BadInput("A curve is one row of losses", value=curve.shape, allowed="(points,)", where="Record.curve")
    settings = json.dumps(dict(record.settings), default=lambda value: value.item())  # numpy scalars
    numbers = float(record.initial), float(record.final), curve.tobytes(), float(record.seconds)
    return (record.key, settings, int(record.seed), int(record.steps), *numbers, record.engine)


def _record(row: tuple) -> Record:
    key, settings, seed, steps, initial, final, curve, seconds, engine = row
    initial, final, seconds = (math.nan if number is None else number for number in (initial, final, seconds))
    losses = np.frombuffer(curve, "<f4").astype(np.float32)
    return Record(key, json.loads(settings), seed, steps, initial, final, losses, seconds, engine)


@dataclass(frozen=True)
class Owner:
    """A process that claims runs, told apart from any other process that ever had its number.

    Example:
        >>> Owner.here().pid == os.getpid(), Owner.here() == Owner.here()
        (True, False)
    """

    token: str  # a uuid
    host: str  # the machine's name
    realm: str  # its boot and process-number space, where known: pids mean the same within one realm only
    pid: int
    started: int | None  # clock ticks from boot to the start of the process; None where unknown

    @classmethod
    def here(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), _realm(), pid, _started(pid))

    def alive(self, beat: float, lease: float = LEASE) -> bool:
        """Whether the owner still works, as far as can be seen from here.

        On this machine it is looked up; elsewhere (and where there is no /proc to look in) it must have beaten within
        the lease.

        Args:
            beat: when it last beat, seconds since the epoch.
            lease: seconds without a beat until it is dead.
        """
        if self.token in GONE:
            return False
        beats = time.time() - beat <= lease
        if (self.host, self.realm) != (socket.gethostname(), _realm()):
            return beats
        if not _exists(self.pid):
            return False
        started = _started(self.pid)
        return beats if started is None or self.started is None else started == self.started


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/pid/stat after the name, which may hold blanks and brackets; None where unreadable."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _started(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[19]) if stat else None


def _exists(pid: int) -> bool:
    """Whether a process runs under this number; a zombie (killed, not yet collected) does not run."""
    stat = _stat(pid)
    if stat is not None:
        return stat[0] not in "ZX"
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would not ask there but act; the lease decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _realm() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


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
        >>> import tempfile
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
        _check_file(path)
        _make_folder(path)
        with _told(path), _connected(path) as db:
            _patiently(lambda: _create_where_empty(db, fingerprint, problem))
            _check_contents(db, path, fingerprint, problem)
            _patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
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
        _check_file(path)
        with _told(path), _connected(path, frozen=_frozen(path)) as db:
            about = "SELECT fingerprint, problem FROM about" if _says(db) else "SELECT '', ''"
            fingerprint, problem = _patiently(lambda: db.execute(about).fetchone()) or ("", "")
            _check_contents(db, path, fingerprint, problem)
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
        return {row[0]: _record(row) for row in rows}

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
        rows = [_row(record) for record in records]
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
        _check_file(other)
        with _told(other), _connected(other, frozen=_frozen(other)) as db:
            _check_contents(db, other, self.fingerprint, self.problem)
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
        with self._lock, _told(self.path):
            return _patiently(lambda: self._db.execute(question, values).fetchall())

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable where it ends well, undone where it does not."""
        with self._lock, _told(self.path), _undone_where_it_fails(self._db):
            _patiently(lambda: self._db.execute("BEGIN IMMEDIATE"))
            yield self._db

    def _pages(self) -> Iterator[list[Record]]:
        """Runs in pages, so that no read is open while the caller works."""
        last = 0
        while rows := self._rows(f"SELECT id, {COLUMNS} FROM runs WHERE id > ? ORDER BY id LIMIT {PAGE}", (last,)):
            yield [_record(row[1:]) for row in rows]
            last = rows[-1][0]

    def _known_owners(self) -> list[tuple[Owner, bool]]:
        with self._lock, _told(self.path):
            return _patiently(lambda: _owners(self._db))


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


# Opening


@contextmanager
def _connected(path: Path, frozen: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that stays open only where the block ends well."""
    address = path.absolute().as_uri() + ("?mode=ro&immutable=1" if frozen else "?mode=rwc")
    # Transactions are begun by hand; the store's own lock keeps threads apart.
    db = sqlite3.connect(address, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")
        yield db
    except BaseException:
        db.close()
        raise


def _frozen(path: Path) -> bool:
    """Whether a finished store lies where nothing can be written, so that it can be read only as it is."""
    wal = path.with_name(path.name + "-wal")
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) and not wal.exists()


def _check_file(path: Path) -> None:
    """Refuse whatever is no store before anything can change it.

    SQLite reads the header itself: closing the file after an ordinary read would drop the locks of every other
    connection of this process (POSIX).
    """
    if path.is_dir():
        raise _refusal(path, "The store is a folder", "a file")
    if not path.exists() or path.stat().st_size == 0:  # empty: killed while it was being created
        return
    with _told(path):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
        except sqlite3.DatabaseError as error:
            if _code(error) == sqlite3.SQLITE_NOTADB:
                raise _refusal(path, "The file is not a store", "an SQLite file made by betaplane") from None
            if _code(error) == sqlite3.SQLITE_CORRUPT:
                return  # as far as can be seen without its WAL: a checkpoint is under way, or was cut short
            raise
        finally:
            db.close()
    _check_application(path, application)


def _check_application(path: Path, application: int) -> None:
    if application != APPLICATION_ID:
        raise _refusal(path, "The file is another program's SQLite database", "an SQLite file made by betaplane")


def _says(db: sqlite3.Connection) -> bool:
    """Whether the store says what it holds."""
    return bool(_patiently(lambda: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone()))


def _check_contents(db: sqlite3.Connection, path: Path, fingerprint: str, problem: str) -> None:
    """Refuse a store of a newer version, a damaged one, and one of another problem."""
    _check_application(path, *_patiently(lambda: db.execute("PRAGMA application_id").fetchone()))
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
        found = _patiently(lambda: db.execute("SELECT fingerprint, problem FROM about").fetchone())
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_ERROR:
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


def _make_folder(path: Path) -> None:
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


def _create_where_empty(db: sqlite3.Connection, fingerprint: str, problem: str) -> None:
    """Write the tables, all or none, unless another process just did."""
    if not _empty(db):
        return
    # In rollback mode, before WAL: so the application id is in the file itself, where `_check_file` looks.
    with _undone_where_it_fails(db):
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


@contextmanager
def _undone_where_it_fails(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that the block begins, or roll it back."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            db.execute("ROLLBACK")
        raise


# Errors

# result code: what, allowed, instead
WRITABLE, ELSEWHERE, OTHER = (
    "a file and folder that can be written",
    "--store /elsewhere/map.sqlite",
    "--store other.sqlite",
)
SENTENCES = {
    sqlite3.SQLITE_FULL: ("The disk is full; all runs finished before are kept", "a disk with free space", ELSEWHERE),
    sqlite3.SQLITE_IOERR: ("The disk failed or is full; all runs finished before are kept", "a sound disk", ELSEWHERE),
    sqlite3.SQLITE_READONLY: ("The store cannot be written", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_PERM: ("The store cannot be opened", WRITABLE, ELSEWHERE),
    sqlite3.SQLITE_CORRUPT: ("The store is damaged", "a whole store", OTHER),
    sqlite3.SQLITE_NOTADB: ("The store is damaged", "a whole store", OTHER),
    sqlite3.SQLITE_BUSY: ("Another process kept the store locked for a minute", "a lock of milliseconds", OTHER),
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the disk and the file into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) not in SENTENCES:
            raise
        what, allowed, instead = SENTENCES[_code(error)]
        raise BadInput(what, value=str(error), allowed=allowed, where=str(path), instead=instead) from error


def _patiently(act: Callable[[], T]) -> T:
    """Do it again while another process holds the lock: some of SQLite's busy answers come without any waiting."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))

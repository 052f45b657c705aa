"""Results of runs on disk: an SQLite file that survives kills and full disks and is shared by
processes.

The file uses WAL with synchronous=FULL: everything given to `Store.finish` is on disk when it
returns. Any number of processes on one machine may read and write it; writes take turns. WAL needs
shared memory, so on several machines let each write its own store and use `Store.merge`. After a
kill or on a full disk, the newest runs are in the `-wal` file next to the store: move the two
together. Opening and closing the store merges them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Self

from betaplane.errors import BadInput
from betaplane.maps.store.meta import Meta
from betaplane.maps.store.run_table import RunTable, pages
from betaplane.maps.store.salvage import readable_ids
from betaplane.maps.store.schema import (
    SCHEMA,
    AnotherProblem,
    Identity,
    adopt,
    check_contents,
    check_file,
    create_tables,
    has_about,
    make_folder,
)
from betaplane.maps.store.sqlite import (
    connected,
    frozen,
    retry_while_locked,
    sqlite_errors_as_bad_input,
)
from betaplane.maps.store.status import Status, status_of
from betaplane.maps.store.upgrade import upgrade


class Store(RunTable):
    """Finished runs of one problem, in one SQLite file.

    Several processes may use one store at once. Each claims runs before it trains them, so that
    none is trained twice. The claims of a process that died are taken over by the next claim.

    Example:
        >>> import tempfile, numpy as np
        >>> from betaplane.maps.store.lease import Owner
        >>> from betaplane.maps.store.run_record import Record, run_key
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
        """Use a connection that `open` has checked."""
        super().__init__(db, path, version)
        self.identity = identity

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
            fingerprint: a hash of the problem's definition and data.
            problem: the problem's name, for messages.
            former: returns the problem's fingerprint as betaplane 0.1 computed it. None: the same.

        Raises:
            BadInput: the file is not a store, is damaged, is of a newer betaplane, has runs of
                another problem, or cannot be written. Nothing on disk was changed.

        Example:
            >>> import tempfile, numpy as np
            >>> from betaplane.maps.store.run_record import Record
            >>> folder = tempfile.TemporaryDirectory()
            >>> with Store.open(f"{folder.name}/map.sqlite", "1f3a", "digits") as store:
            ...     curve = np.array([2.3, 0.2], np.float32)
            ...     _ = store.finish([Record("a", {}, 0, 100, 2.3, 0.2, curve, 0.1, "loop")])
            >>> try:
            ...     Store.open(f"{folder.name}/map.sqlite", "77c0", "text")
            ... except BadInput as error:
            ...     print(error.what, "-", error.instead)
            The store contains another problem - store="other.sqlite"
            >>> folder.cleanup()
        """
        path, identity = Path(path), Identity(fingerprint, problem, former)
        check_file(path)
        make_folder(path)
        with sqlite_errors_as_bad_input(path), connected(path) as db:
            retry_while_locked(lambda: create_tables(db, identity))
            version = check_contents(db, path, identity)
            retry_while_locked(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())
            store = cls(db, path, identity)
            store.damaged = upgrade(db, identity) if version < SCHEMA else 0
            adopt(db, identity)
            return store

    @classmethod
    def reopen(cls, path: str | Path) -> Self:
        """Open an existing store of any problem, to read from it.

        Args:
            path: the file.

        Raises:
            BadInput: as `open`; also if the file does not exist.
        """
        path = Path(path)
        if not _exists(path):
            raise BadInput(
                "There is no such store",
                value=str(path),
                where="map",
                instead="betaplane map digits",
            )
        check_file(path)
        with sqlite_errors_as_bad_input(path), connected(path, frozen=frozen(path)) as db:
            identity = _stated_identity(db)
            return cls(db, path, identity, check_contents(db, path, identity))

    @classmethod
    def is_of_another_problem(cls, path: str | Path, identity: Identity) -> bool:
        """Whether a file is the store of another problem; it does not change.

        False if there is no file, or it is not a whole store, which `open` reports.
        """
        path = Path(path)
        try:
            if _exists(path):
                check_file(path)
                with sqlite_errors_as_bad_input(path), connected(path, frozen=frozen(path)) as db:
                    check_contents(db, path, identity)
                    db.close()
        except AnotherProblem:
            return True
        except BadInput:
            return False
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def problem(self) -> str:
        """The name of the problem whose runs it contains."""
        return self.identity.problem

    @property
    def meta(self) -> Meta:
        """Small values kept next to the runs, such as measured speeds."""
        return Meta(self)

    def status(self) -> Status:
        """Finished runs, claimed runs, and the origin of the store."""
        return status_of(self)

    def merge(self, other: str | Path) -> int:
        """Copy the finished runs of another store of the same problem; returns the number of new
        ones.

        From a damaged store, the undamaged runs are copied.

        Raises:
            BadInput: as `open`; also if the file does not exist.
        """
        other = Path(other)
        if not _exists(other):
            raise BadInput(
                "There is no store to merge",
                value=str(other),
                where="merge",
                instead=f"ls {other.parent}",
            )
        check_file(other)
        with sqlite_errors_as_bad_input(other), connected(other, frozen=frozen(other)) as db:
            version = check_contents(db, other, self.identity, salvage=True)
            source = type(self)(db, other, self.identity, version)
        with source:
            ids = readable_ids(source._db)
            new = sum(self.finish(source.readable(page)) for page in pages(ids))
        self.damaged += source.damaged
        return new


def _exists(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _stated_identity(db: sqlite3.Connection) -> Identity:
    """The problem that a store states; empty if the statement is missing."""
    query = "SELECT fingerprint, problem FROM about" if has_about(db) else "SELECT '', ''"
    fingerprint, problem = retry_while_locked(lambda: db.execute(query).fetchone()) or ("", "")
    return Identity(fingerprint, problem)

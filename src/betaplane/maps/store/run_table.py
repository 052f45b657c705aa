"""Read and write finished runs; damaged rows are detected and set aside."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.store.digest import with_digest
from betaplane.maps.store.run_claims import Claims, json_list
from betaplane.maps.store.run_record import (
    COLUMNS,
    VALUE_COLUMNS,
    Record,
    is_valid_row,
    record_of,
    row_of,
)
from betaplane.maps.store.schema import SCHEMA
from betaplane.maps.store.sqlite import frozen, result_code

RUNS_PER_PAGE = 1000  # read, or merged, at a time


class RunTable(Claims):
    """The finished runs of a store.

    Args:
        db: a connection to a checked store.
        path: the file.
        version: the version of its schema; 1 has no digests.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, version: int = SCHEMA) -> None:
        super().__init__(db, path)
        self._version = version
        self.damaged = 0  # damaged runs found; they are trained again

    def __len__(self) -> int:
        return self.rows("SELECT count(*) FROM runs")[0][0]

    def __bool__(self) -> bool:
        return True  # an empty store is still a store

    def load(self, keys: Iterable[str]) -> dict[str, Record]:
        """The finished runs among `keys`; damaged ones are deleted, to be trained again."""
        loaded = {}
        for page in pages(keys):
            records, damaged = self._read("key", page)
            loaded |= {record.key: record for record in records}
            loaded |= self._delete_damaged(damaged)
        return loaded

    def all(self) -> Iterator[Record]:
        """Every finished run, in the order of finishing; includes runs that finish meanwhile."""
        last = 0
        query = f"SELECT id FROM runs WHERE id > ? ORDER BY id LIMIT {RUNS_PER_PAGE}"
        while page := self.rows(query, (last,)):
            last = page[-1][0]
            records, damaged = self._read("id", [run_id for (run_id,) in page])
            self.damaged += len(damaged)
            yield from records

    def finish(self, records: Iterable[Record], chunks: Iterable[str] = ()) -> int:
        """Keep results: they are on disk when this returns. Returns the number of new ones.

        One transaction: all or none. The claims of these runs end, and the saved states of their
        chunks are deleted. A run that is already stored is never overwritten.

        Args:
            records: the finished runs.
            chunks: the keys of the chunks they were trained in.

        Raises:
            BadInput: the disk is full or broken. None of these records was kept; all earlier ones
                are.
        """
        rows = [row_of(record) for record in records]
        with self.writing() as db:
            before = db.total_changes
            db.executemany(
                f"INSERT INTO runs ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
                " ON CONFLICT (key) DO NOTHING",
                rows,
            )
            new = db.total_changes - before
            db.executemany("DELETE FROM claims WHERE key = ?", [row[:1] for row in rows])
            db.executemany("DELETE FROM unfinished WHERE runs = ?", [(chunk,) for chunk in chunks])
        return new

    def _read(self, column: str, values: list) -> tuple[list[Record], list]:
        """The records whose `column` is one of `values`, and the values whose row is damaged."""
        columns = COLUMNS if self._version > 1 else VALUE_COLUMNS
        query = (
            f"SELECT {column}, {columns} FROM runs"
            f" WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY id"
        )
        try:
            rows = self.rows(query, json_list(values))
        except BadInput as error:
            if result_code(error.__cause__) != sqlite3.SQLITE_TOOBIG:
                raise
            return self._read_one_by_one(column, values)
        read = [(row[0], self._record(row[1:])) for row in rows]
        records = [record for _, record in read if record]
        return records, [value for value, record in read if not record]

    def _read_one_by_one(self, column: str, values: list) -> tuple[list[Record], list]:
        """As `_read`, after a value was too big to read: a single such row is damaged."""
        if len(values) == 1:
            return [], values
        reads = [self._read(column, [value]) for value in values]
        records = [record for found, _ in reads for record in found]
        return records, [value for _, damaged in reads for value in damaged]

    def _record(self, row: tuple) -> Record | None:
        if self._version == 1 and is_valid_row(row):  # betaplane 0.1 wrote no digests
            return record_of(with_digest(row))
        return record_of(row)

    def _delete_damaged(self, keys: list[str]) -> dict[str, Record]:
        """Delete damaged rows; returns the records that only had a damaged index."""
        if not keys:
            return {}
        records: list[Record] = []
        if self._version > 1 and not frozen(self.path):
            with self.writing() as db:
                db.execute("REINDEX runs")
            records, keys = self._read("key", keys)
            with self.writing() as db:
                db.executemany("DELETE FROM runs WHERE key = ?", [(key,) for key in keys])
        self.damaged += len(keys)
        return {record.key: record for record in records}

    def readable(self, ids: list[int]) -> Iterator[Record]:
        """The undamaged records with these ids, read one by one; unreadable ones are skipped."""
        for run_id in ids:
            try:
                records, _ = self._read("id", [run_id])
            except BadInput:
                records = []
            self.damaged += not records
            yield from records


def pages(values: Iterable[Any]) -> Iterator[list]:
    """The values in lists of at most `RUNS_PER_PAGE`."""
    iterator = iter(values)
    while page := list(islice(iterator, RUNS_PER_PAGE)):
        yield page

"""Saved states of unfinished chunks of runs, in the store next to the finished runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.store.digest import is_intact, with_digest
from betaplane.maps.store.sqlite import connected, retry_while_locked, sqlite_errors_as_bad_input


def chunk_key(keys: Iterable[str]) -> str:
    """The key of a chunk of runs: 32 hex digits that depend on the keys of its runs and their
    order.
    """
    return hashlib.blake2b(" ".join(keys).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class SavedChunk:
    """The saved state of one chunk, read and written by the worker that trains the chunk.

    The worker uses a connection of its own. A state only saves time: if the store cannot be read or
    written, the chunk is trained from its start.
    """

    path: Path
    chunk: str  # see `chunk_key`

    def load(self) -> bytes | None:
        """The state that was saved last; None if there is none or it is damaged."""
        with suppress(BadInput), sqlite_errors_as_bad_input(self.path), connected(self.path) as db:
            query = "SELECT runs, state, digest FROM unfinished WHERE runs = ?"
            row = retry_while_locked(lambda: db.execute(query, (self.chunk,)).fetchone())
            db.close()
            return row[1] if row and is_intact(row) else None
        return None

    def save(self, state: bytes) -> None:
        """Keep this state; it is on disk when this returns."""
        with suppress(BadInput), sqlite_errors_as_bad_input(self.path), connected(self.path) as db:
            row = with_digest((self.chunk, state))
            insert = "INSERT OR REPLACE INTO unfinished VALUES (?,?,?)"
            retry_while_locked(lambda: db.execute(insert, row))
            db.close()

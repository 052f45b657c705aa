"""The states of unfinished chunks of runs, in the store beside the finished runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.store.digest import whole, with_digest
from betaplane.maps.store.sqlite import connected, patiently, told


def chunk_key(keys: Iterable[str]) -> str:
    """A name for a chunk of runs: 32 hex digits that depend on the keys of its runs and their
    order.
    """
    return hashlib.blake2b(" ".join(keys).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Shelf:
    """The place of one chunk's state; used by the worker that trains the chunk, over a connection
    of its own.

    A state only saves time: if the store cannot be read or written, the chunk is trained from its start.
    """

    path: Path
    chunk: str  # see `chunk_key`

    def load(self) -> bytes | None:
        """The state that was saved last; None if there is none or it is damaged."""
        with suppress(BadInput), told(self.path), connected(self.path) as db:
            question = "SELECT runs, state, digest FROM unfinished WHERE runs = ?"
            row = patiently(lambda: db.execute(question, (self.chunk,)).fetchone())
            db.close()
            return row[1] if row and whole(row) else None
        return None

    def save(self, state: bytes) -> None:
        """Keep this state; it is on the disk when this returns."""
        with suppress(BadInput), told(self.path), connected(self.path) as db:
            row = with_digest((self.chunk, state))
            patiently(lambda: db.execute("INSERT OR REPLACE INTO unfinished VALUES (?,?,?)", row))
            db.close()

"""Small JSON values kept in a store next to the runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from betaplane.maps.store.digest import is_intact, with_digest

if TYPE_CHECKING:
    from betaplane.maps.store.store import Store


class Meta(MutableMapping[str, Any]):
    """Small JSON values in a store, as a dict; every change is durable immediately.

    A damaged value is missing.

    Example:
        >>> import tempfile
        >>> from betaplane.maps.store.store import Store
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
        return json.loads(self._intact()[name])

    def __setitem__(self, name: str, value: Any) -> None:
        row = with_digest((name, json.dumps(value)))
        with self._store.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", row)

    def __delitem__(self, name: str) -> None:
        with self._store.writing() as db:
            if not db.execute("DELETE FROM meta WHERE name = ?", (name,)).rowcount:
                raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._intact())

    def __len__(self) -> int:
        return len(self._intact())

    def starting_with(self, start: str) -> dict[str, Any]:
        """The values whose name has this start, by the rest of their name."""
        length = len(start)
        return {n[length:]: json.loads(v) for n, v in self._intact().items() if n.startswith(start)}

    def _intact(self) -> dict[str, str]:
        """The undamaged values, as JSON text, by name."""
        rows = self._store.rows("SELECT name, value, digest FROM meta ORDER BY name")
        return {name: value for name, value, digest in rows if is_intact((name, value, digest))}

"""The settings of a run as a dict that records which of them were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from betaplane.errors import BadInput, nearest


class ReadSettings(dict[str, float]):
    """The settings that a training function receives; using them as a whole reads all of them.

    Example:
        >>> settings = ReadSettings({"lr": 0.1, "beta2": 0.99})
        >>> settings["lr"], settings.unread(["lr", "beta2"])
        (0.1, ['beta2'])
        >>> dict(**settings), settings.unread(["lr", "beta2"])
        ({'lr': 0.1, 'beta2': 0.99}, [])
    """

    def __init__(self, settings: Mapping[str, float]) -> None:
        super().__init__(settings)
        self._read: set[str] = set()

    def unread(self, names: Iterable[str]) -> list[str]:
        """Those of the names that were not read."""
        return [name for name in names if name not in self._read]

    def check_read(self, names: Iterable[str], where: str) -> None:
        """Raise BadInput for the first of the names that was not read."""
        for name in self.unread(names):
            close = nearest(name, self._read - {*super().keys()}, "")
            guess = f"; it reads {close}" if close else ""
            raise BadInput(
                f"The training function does not read the setting {name}{guess}",
                value=f"{name}={super().__getitem__(name):g}",
                allowed=f"a function that uses settings[{name!r}]",
                where=where,
                instead=f"settings[{name!r}]",
            )

    def _all(self) -> None:
        self._read |= super().keys()

    def __getitem__(self, name: str) -> float:
        self._read.add(name)
        return super().__getitem__(name)

    def __missing__(self, name: str) -> float:
        close = nearest(name, super().keys(), "")
        guess = f"; did you mean {close!r}?" if close else ""
        raise KeyError(f"{name!r} is no setting of this run{guess}")

    def get(self, name: str, default: Any = None) -> Any:
        """The setting, or a default."""
        self._read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove and return the setting."""
        self._read.add(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        """The names."""
        self._all()
        return super().keys()

    def values(self) -> Any:
        """The values."""
        self._all()
        return super().values()

    def items(self) -> Any:
        """The names and values."""
        self._all()
        return super().items()

    def copy(self) -> dict[str, float]:
        """A plain dict."""
        self._all()
        return dict(super().items())

    def __repr__(self) -> str:
        self._all()
        return super().__repr__()

    def __or__(self, other: Any) -> Any:
        self._all()
        return super().__or__(other)

"""Read a pickle without importing, calling or hashing anything that it could misuse, in time and
memory of its size.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch

FEWEST_OPERATIONS = 500_000  # allowed in any file: a third of a second, and at most about 60 MB
# of the file, beyond that: torch writes one operation per 10 bytes at the very least
BYTES_PER_OPERATION = 8
KEY_ATOMS = 100  # of a key: nested tuples that share their parts would be hashed for ever
LARGEST_KEY = 2**63  # of whole numbers
HARMLESS = (
    "deepspeed.", "lightning.", "pytorch_lightning.", "lightning_fabric.", "transformers.", "omegaconf.", "argparse.",
    "numpy.", "collections.", "pathlib.", "typing.", "enum.", "torch.distributed.", "torch.nn.", "torch.optim.",
    "torch.storage.", "torchao.optim.subclass_8bit.", "megatron.", "apex.", "transformer_engine.",
)  # fmt: skip  # packages that leave objects in checkpoints beside the state; each object becomes an `Inert`
LEFT_OUT = (
    "bytearray8", "next_buffer", "readonly_buffer", "ext1", "ext2", "ext4", "inst", "obj",
)  # fmt: skip  # operations that fill memory by a length, or take registered classes; no checkpoint needs them


class Refused(pickle.UnpicklingError):
    """The pickle names a function or class that no checkpoint needs."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Inert:
    """What stands for an object of another program: its arguments and fields, and no behavior."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def take(self, state: Any) -> None:
        """Keep the fields of a pickled state: a dict of them, or a pair of dicts as classes with
        slots give.
        """
        for each in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(each, dict):
                self.__dict__.update({name: x for name, x in each.items() if isinstance(name, str)})

    def append(self, value: Any) -> None:
        """Items are dropped."""


def checked_key(key: Any) -> Any:
    """A key of a dict, if hashing it takes no time.

    Raises:
        ValueError: it is a nest of tuples with more than `KEY_ATOMS` parts, or not a plain value.
    """
    atoms, parts = 0, [key]
    while parts:
        part, atoms = parts.pop(), atoms + 1
        if atoms > KEY_ATOMS or (isinstance(part, int) and abs(part) >= LARGEST_KEY):
            raise ValueError("a key of a dict is too large")
        if isinstance(part, tuple):
            parts.extend(part[: KEY_ATOMS + 1])
        elif not isinstance(part, str | bytes | int | float | Inert | torch.dtype | None):
            raise ValueError(f"a key of a dict is a {type(part).__name__}")
    return key


class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]  # the one in C cannot be limited
    """Builds plain containers, and of all else what `table` makes of it or an `Inert`.

    Args:
        file: with `read` and `readline`.
        size: bytes of the file or folder that the pickle belongs to; what it may make grows with it.
        table: what stands for a global, by its full name: called where the pickle calls it.
        storage: called with a persistent id.
    """

    dispatch: dict[int, Callable[[Unpickler], None]]
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        file: Any,
        size: int,
        table: Mapping[str, Any],
        storage: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.left = max(FEWEST_OPERATIONS, size // BYTES_PER_OPERATION)
        self.table, self.storage = table, storage

    def load(self) -> Any:
        """The object. Garbage is not collected meanwhile: to look through many new objects again
        and again is slow.
        """
        collected = gc.isenabled()
        gc.disable()
        try:
            return super().load()
        finally:
            if collected:
                gc.enable()

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global; nothing is imported."""
        full = f"{module}.{name}"
        if full in self.table:
            return self.table[full]
        if not full.startswith(HARMLESS):
            raise Refused(full)
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        """A storage."""
        if self.storage is None:
            raise ValueError("it refers to data that it does not hold")
        return self.storage(pid)

    def load_reduce(self) -> None:
        """Call one of the stand-ins; nothing else can be called."""
        args, function = self.stack.pop(), self.stack.pop()
        if not callable(function) or not isinstance(args, tuple):
            raise ValueError("it calls what is no function")
        self.append(function(*args))

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        """The same, without keywords."""
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        """Give an `Inert` its fields; other objects keep theirs."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].take(state)

    def load_dict(self) -> None:
        """A dict of the items since the last mark."""
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def load_setitem(self) -> None:
        """One item of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """Items of a dict."""
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(
                (checked_key(key), value)
                for key, value in zip(items[::2], items[1::2], strict=True)
            )
        elif not isinstance(target, Inert):
            raise ValueError("it sets items of what is no dict")

    def load_empty_set(self) -> None:
        """No optimizer keeps sets."""
        self.append(Inert())

    def load_additems(self) -> None:
        """Items of a set are dropped."""
        self.pop_mark()

    def load_frozenset(self) -> None:
        """No optimizer keeps sets."""
        self.pop_mark()
        self.append(Inert())


def _limited(load: Callable[[Unpickler], None]) -> Callable[[Unpickler], None]:
    """The operation, counted."""

    def counted(self: Unpickler) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it makes more objects than a checkpoint of its size holds")
        load(self)

    return counted


Unpickler.dispatch = {
    code: _limited(getattr(Unpickler, load.__name__))
    for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
    if load.__name__.removeprefix("load_") not in LEFT_OUT
}

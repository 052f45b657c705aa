"""Read a pickle without importing or calling anything, in time and memory proportional to its size."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch

# operations allowed in any file; they take a third of a second and at most about 60 MB
MIN_OPERATIONS = 500_000
# one more operation is allowed per so many bytes of the file; torch's files have at least 10
BYTES_PER_OPERATION = 8
MAX_KEY_PARTS = 100  # nested tuples that share their parts could be hashed forever
MAX_INT_KEY = 2**63
# packages whose objects are in checkpoints next to the state; each object becomes an `Inert`
HARMLESS_PACKAGES = (
    "deepspeed.", "lightning.", "pytorch_lightning.", "lightning_fabric.", "transformers.", "omegaconf.", "argparse.",
    "numpy.", "collections.", "pathlib.", "typing.", "enum.", "torch.distributed.", "torch.nn.", "torch.optim.",
    "torch.storage.", "torchao.optim.subclass_8bit.", "megatron.", "apex.", "transformer_engine.",
)  # fmt: skip
# operations that allocate memory by a stated length, or use registered classes; no checkpoint needs
# them
UNSUPPORTED_OPERATIONS = (
    "bytearray8", "next_buffer", "readonly_buffer", "ext1", "ext2", "ext4", "inst", "obj",
)  # fmt: skip


class Refused(pickle.UnpicklingError):
    """The pickle names a function or class that no checkpoint needs."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Inert:
    """A stand-in for an object of another library: its arguments and fields, without behavior."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def set_state(self, state: Any) -> None:
        """Set the fields of a pickled state: a dict, or a pair of dicts for classes with slots."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.__dict__.update({name: x for name, x in part.items() if isinstance(name, str)})

    def append(self, value: Any) -> None:
        """Ignore the item."""


def checked_key(key: Any) -> Any:
    """A key of a dict, if it can be hashed quickly.

    Raises:
        ValueError: it is a nest of tuples with more than `MAX_KEY_PARTS` parts, or not a plain
            value.
    """
    count, parts = 0, [key]
    while parts:
        part, count = parts.pop(), count + 1
        if count > MAX_KEY_PARTS or (isinstance(part, int) and abs(part) >= MAX_INT_KEY):
            raise ValueError("a key of a dict is too large")
        if isinstance(part, tuple):
            parts.extend(part[: MAX_KEY_PARTS + 1])
        elif not isinstance(part, str | bytes | int | float | Inert | torch.dtype | None):
            raise ValueError(f"a key of a dict is a {type(part).__name__}")
    return key


class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]  # the one in C cannot be limited
    """Builds plain containers; other objects are built by `table` or become an `Inert`.

    Args:
        file: with `read` and `readline`.
        size: bytes of the file or folder of the pickle; the number of allowed operations grows with
            it.
        table: replacements of globals by their full name; called when the pickle calls the global.
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
        self.left = max(MIN_OPERATIONS, size // BYTES_PER_OPERATION)
        self.table = table
        self.storage = storage

    def load(self) -> Any:
        """The object.

        Garbage collection is disabled meanwhile; it would scan the many new objects repeatedly.
        """
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return super().load()
        finally:
            if was_enabled:
                gc.enable()

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of a global; nothing is imported."""
        full = f"{module}.{name}"
        if full in self.table:
            return self.table[full]
        if not full.startswith(HARMLESS_PACKAGES):
            raise Refused(full)
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        """The storage with a persistent id."""
        if self.storage is None:
            raise ValueError("it refers to data that it does not contain")
        return self.storage(pid)

    def load_reduce(self) -> None:
        """Call one of the replacements; nothing else can be called."""
        args, function = self.stack.pop(), self.stack.pop()
        if not callable(function) or not isinstance(args, tuple):
            raise ValueError("it calls an object that is not a function")
        self.append(function(*args))

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        """As `load_newobj`; keyword arguments are ignored."""
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        """Set the fields of an `Inert`; other objects are unchanged."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].set_state(state)

    def load_dict(self) -> None:
        """Build a dict of the items since the last mark."""
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def load_setitem(self) -> None:
        """Set one item of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """Set items of a dict."""
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(
                (checked_key(key), value)
                for key, value in zip(items[::2], items[1::2], strict=True)
            )
        elif not isinstance(target, Inert):
            raise ValueError("it sets items of an object that is not a dict")

    def load_empty_set(self) -> None:
        """Build an `Inert`: no optimizer state contains sets."""
        self.append(Inert())

    def load_additems(self) -> None:
        """Ignore the items of a set."""
        self.pop_mark()

    def load_frozenset(self) -> None:
        """Build an `Inert`: no optimizer state contains sets."""
        self.pop_mark()
        self.append(Inert())


def _limited(load: Callable[[Unpickler], None]) -> Callable[[Unpickler], None]:
    """The operation, with a limit on the total number of operations."""

    def counted(self: Unpickler) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has more objects than a checkpoint of its size")
        load(self)

    return counted


Unpickler.dispatch = {
    code: _limited(getattr(Unpickler, load.__name__))
    for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
    if load.__name__.removeprefix("load_") not in UNSUPPORTED_OPERATIONS
}

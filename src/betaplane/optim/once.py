"""A thread-safe and fork-safe cache for functions that trace or compile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# torch.fx patches torch.nn.Module while it traces, and fails if two threads do
MAKING = threading.RLock()
MISSING = object()

# a fork waits until no function is running, so that the child's lock is free
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=MAKING.acquire, after_in_parent=MAKING.release, after_in_child=MAKING.release
    )


class once(Generic[T]):
    """functools.cache for functions that must not run in two threads at once.

    Values that are cached are returned without waiting.

    Example:
        >>> @once
        ... def double(x):
        ...     print("computed")
        ...     return 2 * x
        >>> double(3), double(3)
        computed
        (6, 6)
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self.function, self.known = function, {}
        update_wrapper(self, function)

    def __call__(self, *args: Hashable) -> T:
        """The function's value, computed if it is not cached."""
        value: Any = self.known.get(args, MISSING)
        if value is MISSING:
            with MAKING:
                if args not in self.known:
                    self.known[args] = self.function(*args)
                value = self.known[args]
        return value

    def cache_clear(self) -> None:
        """Forget all values."""
        self.known.clear()

"""Calls whose errors end watching, but never the watched run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from warnings import warn


def guarded(call: Callable[..., None], stop: Callable[[Exception], None]) -> Callable[..., None]:
    """The call, with its errors passed to `stop`.

    Example:
        >>> guarded(lambda: [][0], lambda error: print(type(error).__name__))()
        IndexError
    """

    def checked(*args: Any) -> None:
        try:
            call(*args)
        except Exception as error:
            stop(error)

    return checked


def warn_stopped(error: Exception, step: int) -> None:
    """Warn that watching stopped at a step, with the error and its place."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    warn(
        f"watching stopped at step {step}; training continues. "
        f"{type(error).__name__}: {error} ({place})",
        stacklevel=4,
    )

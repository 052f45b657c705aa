"""A kind of checkpoint: how it is made, and what a report on it should say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Make = Callable[[Path, int], Path]  # (empty folder, size) -> path to inspect


class Kind(NamedTuple):
    """A kind of checkpoint.

    Args:
        name: short description.
        make: write one into a folder; returns the path to inspect.
        faults: ids of findings that name the fault; () if the checkpoint is healthy.
        needs: packages beyond torch and safetensors.
    """

    name: str
    make: Make
    faults: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

"""What else is claimed about a setting, with sources, where the evidence has no experiment."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("notes.toml")


@dataclass(frozen=True)
class Note:
    """A claim about a setting.

    Args:
        setting: the setting: "beta1", "beta2", "eps", or "rule" (which optimizer).
        text: the claim, in one or two sentences.
        source: who makes it.
        verified: how it was checked, as in the evidence: "read", "second hand" or "memory".
    """

    setting: str
    text: str
    source: str
    verified: str


@cache
def notes() -> tuple[Note, ...]:
    """All notes, by setting.

    Example:
        >>> sorted({note.setting for note in notes()})
        ['beta1', 'beta2', 'eps', 'rule']
    """
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["notes"]
    return tuple(Note(**entry) for entry in entries)

"""What a detector is: a cause with its source and threshold, and the rule that finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from betaplane.monitor.history import History


class Finding(NamedTuple):
    """What a rule found."""

    layer: str  # "" for the whole model
    evidence: str  # the numbers
    change: str  # what to change, with numbers
    remedy: dict[str, Any]  # the change as data; see `Alert`


@dataclass(frozen=True)
class Detector:
    """A small rule over quantities.

    Args:
        cause: its name, a few words.
        why: one sentence on how it harms.
        threshold: the number that decides; its unit is in `reason`.
        reason: why this threshold.
        source: authors, year, arXiv id.
        find: find(history, threshold) -> what was found, or None.
    """

    cause: str
    why: str
    threshold: float
    reason: str
    source: str
    find: Callable[[History, float], Finding | None]

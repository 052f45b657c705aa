"""Detector: a cause of trouble, its threshold, and the rule that finds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from betaplane.monitor.detectors.thresholds import Threshold, deciding
from betaplane.monitor.history import History

When = Literal["loss", "step", "reading"]
LOSS: When = "loss"
STEP: When = "step"


class Finding(NamedTuple):
    """The result of a rule that has found its cause."""

    layer: str  # "" for the whole model
    evidence: str  # the measured quantities
    change: str  # the proposed remedy as text
    remedy: dict[str, Any]  # the remedy as data; see `Alert`


@dataclass(frozen=True)
class Detector:
    """A rule over quantities, with its threshold in `thresholds.toml`.

    Args:
        cause: its name, a few words; the key of its thresholds.
        why: one sentence on how it harms the run.
        find: find(history, threshold) -> Finding, or None.
        when: what it looks at: each "loss", each "step" whose gradients were measured, or each
            "reading" of all tensors.

    Example:
        >>> from betaplane.monitor.detectors import ALL
        >>> [detector.threshold for detector in ALL if detector.cause == "dead rows"]
        [0.4]
    """

    cause: str
    why: str
    find: Callable[[History, float], Finding | None]
    when: When = "reading"

    @property
    def id(self) -> str:
        """The cause in lower case, with hyphens: how a rule is muted and listed.

        Example:
            >>> from betaplane.monitor.detectors import ALL
            >>> [detector.id for detector in ALL if "rows" in detector.cause]
            ['dead-rows']
        """
        return "-".join(re.findall(r"[a-z0-9]+", self.cause.lower()))

    @property
    def limit(self) -> Threshold:
        """The threshold that decides, with its quantity, unit, reason and source."""
        return deciding(self.cause)

    @property
    def threshold(self) -> float:
        """The value of the threshold that decides."""
        return self.limit.value

    @property
    def reason(self) -> str:
        """The compared quantity, and the reason for the threshold."""
        return f"{self.limit.quantity}: {self.limit.reason}"

    @property
    def source(self) -> str:
        """Authors, year, arXiv id."""
        return self.limit.source

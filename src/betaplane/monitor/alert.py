"""Alert: step, layer, cause, evidence and remedy of a detected problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_LISTED_EXAMPLES = 8


def shortened(batch: Sequence[Any]) -> str:
    """The first indices of a batch as text.

    Example:
        >>> shortened(range(32))
        '0, 1, 2, 3, 4, 5, 6, 7, ... (32 examples)'
    """
    text = ", ".join(str(index) for index in batch[:MAX_LISTED_EXAMPLES])
    more = f", ... ({len(batch)} examples)" if len(batch) > MAX_LISTED_EXAMPLES else ""
    return text + more


@dataclass(frozen=True)
class Alert:
    """One detected problem.

    Args:
        step: the step at which it was raised, from the beginning of the run.
        layer: the tensor, "" for the whole model.
        cause: the detector's name.
        evidence: the measured quantities.
        why: one sentence on how it harms the run.
        change: the proposed remedy as text.
        averted: what a replay of the last steps says about the alternatives; "" without a replay.
        source: authors, year, arXiv id.
        remedy: the proposed remedy as data. lr, beta1, beta2, eps, weight_decay, clip (limit of the
            update's RMS), max_norm (of all gradients), nonfinite and storage are options of this
            package's optimizers. Others are decay ("corrected": times lr / peak_lr), warmup (steps
            to full lr), step (the step count before this step), skip (the step whose batch to
            skip) and reinitialise (rows of `layer`).
        replayed: the replay as data, see `Replayed.row`; empty without a replay.
        rule: the detector's id.
        batch: indices of the examples of the step, if they were given.
        action: the action that was taken, see `watch(act=)`; "" without one.
    """

    step: int
    layer: str
    cause: str
    evidence: str
    why: str
    change: str
    averted: str
    source: str
    remedy: dict[str, Any] = field(default_factory=dict)
    replayed: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    batch: tuple[Any, ...] = ()
    action: str = ""

    def __str__(self) -> str:
        place = f" in {self.layer}" if self.layer else ""
        replayed = f" Replayed: {self.averted}." if self.averted else ""
        batch = f" Batch: {shortened(self.batch)}." if self.batch else ""
        action = f" Action: {self.action}." if self.action else ""
        found = f"step {self.step}{place}: {self.cause}. {self.evidence}. {self.why}"
        return f"{found} Change: {self.change}.{replayed}{batch}{action}"

    def row(self) -> dict[str, Any]:
        """The alert as JSON-compatible data."""
        return asdict(self)

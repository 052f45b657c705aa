"""What a watched run says: step, layer, cause, evidence, what to change, and whether that would
have averted it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Alert:
    """One alarm.

    Args:
        step: steps watched when it was raised.
        layer: the tensor, "" for the whole model.
        cause: the detector's name.
        evidence: the numbers.
        why: one sentence on how it harms.
        change: what to change.
        averted: what a replay of the last steps says of the alternatives; "" where nothing could be replayed.
        source: who found it.
        remedy: the change as data. lr, beta1, beta2, eps, weight_decay, clip (of the update's RMS), max_norm (of all
            gradients), nonfinite and storage are options of our optimizers; else decay ("corrected": times lr /
            peak_lr), warmup (steps to full lr), step (what should have been counted before this one), skip (the step
            whose batch to leave out), reinitialise (rows of `layer`).
        replayed: the replay as data: see `Replayed.row`; empty where nothing could be replayed.
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

    def __str__(self) -> str:
        place = f" in {self.layer}" if self.layer else ""
        replayed = f" Replayed: {self.averted}." if self.averted else ""
        return f"step {self.step}{place}: {self.cause}. {self.evidence}. {self.why} Change: {self.change}.{replayed}"

    def row(self) -> dict[str, Any]:
        """The alarm as plain words and numbers."""
        return asdict(self)

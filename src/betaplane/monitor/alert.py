"""Alert: step, layer, cause, evidence and remedy of a detected problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Alert:
    """One detected problem.

    Args:
        step: steps watched when it was raised.
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
        """The alert as JSON-compatible data."""
        return asdict(self)

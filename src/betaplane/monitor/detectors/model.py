"""Detector of a model that is trained in evaluation mode."""

from __future__ import annotations

from betaplane.monitor.detectors.detector import STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History

EVALUATION_CAUSE = "model in evaluation mode"
CHECK_EVERY = limits(EVALUATION_CAUSE)["steps"]


def _find_evaluation(history: History, threshold: float) -> Finding | None:
    if history.gradients.count % CHECK_EVERY or history.probe is None:
        return None
    names = history.probe.in_evaluation()
    if len(names) <= threshold:
        return None
    evidence = (
        f"model.training is False, and {len(names)} normalization or dropout layers depend on it"
    )
    return Finding(names[0], evidence, "call model.train() after each evaluation", {})


EVALUATION_MODE = Detector(
    cause=EVALUATION_CAUSE,
    why="BatchNorm uses running statistics that nothing updates, and dropout is off.",
    find=_find_evaluation,
    when=STEP,
)

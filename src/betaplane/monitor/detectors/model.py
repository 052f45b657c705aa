"""Detectors of a model that is not trained as a whole: parameters left out, or evaluation mode."""

from __future__ import annotations

from betaplane.monitor.detectors.detector import STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History

LEFT_OUT_CAUSE = "parameters outside of the optimizer"
EVALUATION_CAUSE = "model in evaluation mode"
CHECK_AT = limits(LEFT_OUT_CAUSE)["steps"]


def _find_left_out(history: History, threshold: float) -> Finding | None:
    if history.pulses.count != CHECK_AT or history.probe is None:
        return None
    names = history.probe.left_out()
    if len(names) <= threshold:
        return None
    evidence = (
        f"{len(names)} parameters of the model have a gradient but no step changes them "
        f"({', '.join(names[:3])})"
    )
    change = "make the optimizer from all of model.parameters(), after the model is complete; or freeze them"
    return Finding(names[0], evidence, change, {})


def _find_evaluation(history: History, threshold: float) -> Finding | None:
    if history.pulses.count % CHECK_AT or history.probe is None:
        return None
    names = history.probe.in_evaluation()
    if len(names) <= threshold:
        return None
    evidence = (
        f"model.training is False, and {len(names)} normalization or dropout layers depend on it"
    )
    return Finding(names[0], evidence, "call model.train() after each evaluation", {})


LEFT_OUT = Detector(
    cause=LEFT_OUT_CAUSE,
    why="A part of the model stays as it was initialized.",
    find=_find_left_out,
    when=STEP,
)
EVALUATION_MODE = Detector(
    cause=EVALUATION_CAUSE,
    why="BatchNorm uses running statistics that nothing updates, and dropout is off.",
    find=_find_evaluation,
    when=STEP,
)

"""Detectors of causes in the flow of gradients: none, not reset, exploding, or clipped too much."""

from __future__ import annotations

import math

from betaplane.monitor.detectors.detector import STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY

MISSING_CAUSE = "no gradient"
NOT_ZEROED_CAUSE = "gradients not zeroed"
EXPLODING_CAUSE = "exploding gradients"
MISSING_LIMITS = limits(MISSING_CAUSE)
NOT_ZEROED_LIMITS = limits(NOT_ZEROED_CAUSE)
EXPLODING_LIMITS = limits(EXPLODING_CAUSE)
CLIPPED_CAUSE = "gradients clipped too much"
CLIPPED_LIMITS = limits(CLIPPED_CAUSE)


def _find_missing(history: History, threshold: float) -> Finding | None:
    gradients = history.gradients
    if gradients.step - history.start < threshold or gradients.count % MISSING_LIMITS["measured"]:
        return None
    silent = [
        i
        for i, n in enumerate(gradients.zero_steps)
        if n >= MISSING_LIMITS["measured"]
        and gradients.step - gradients.last_nonzero[i] >= threshold
        and gradients.trained[i]
    ]
    if not any(gradients.is_matrix[i] for i in silent) or len(silent) == len(gradients.layers):
        return None  # the gradient of a bias may be 0 because the loss does not depend on it
    never = [i for i in silent if not gradients.ever_nonzero[i]]
    if not any(gradients.is_matrix[i] for i in never):
        never = []
    layers = never or silent
    zeros = [i for i in layers if not gradients.missing[i]]
    kind = "gradients of exactly 0" if zeros else "no gradient"
    since = "ever" if never else f"since step {max(gradients.last_nonzero[i] for i in layers)}"
    names = [gradients.layers[i] for i in layers]
    evidence = f"{kind} {since} in {len(names)} of {len(gradients.layers)} tensors ({', '.join(names[:3])})"
    change = (
        "check that the loss depends on them: detach(), no_grad, dead activations, unused layers"
    )
    return Finding(names[0], evidence, change, {})


def _find_not_zeroed(history: History, threshold: float) -> Finding | None:
    gradients = history.gradients
    if gradients.unreset < threshold:
        return None
    norms = [norm for _, norm in gradients.totals if math.isfinite(norm)]
    if len(norms) < 2 or max(norms) < NOT_ZEROED_LIMITS["growth"] * min(norms):
        return None
    if not (gradients.accumulated >= threshold or _correlate(history)):
        return None
    evidence = (
        f"gradients were added to the same tensors at {gradients.unreset} steps in a row without a "
        f"reset, and their norm grew {max(norms) / max(min(norms), TINY):.1f} x"
    )
    return Finding("", evidence, "call optimizer.zero_grad() before each backward", {})


def _correlate(history: History) -> bool:
    """Whether consecutive gradients are almost parallel, as sums of gradients are."""
    steps = int(NOT_ZEROED_LIMITS["steps"])
    correlations = [step.correlation for step in history.correlations][-steps:]
    return len(correlations) == steps and min(correlations) >= NOT_ZEROED_LIMITS["correlation"]


def _find_exploding(history: History, threshold: float) -> Finding | None:
    norms = [norm for _, norm in history.gradients.totals if norm < math.inf]
    if len(norms) < EXPLODING_LIMITS["measured"] or norms[-1] <= threshold * min(norms):
        return None
    usual = history.gradients.usual_norm
    if not usual > 0 or norms[-1] <= threshold * usual:
        return None
    if norms[-1] <= EXPLODING_LIMITS["start"] * history.gradients.start_norm:
        return None  # the others have vanished: near a loss of 0 most batches have no gradient
    large = [norm for norm in norms if norm > threshold * usual]
    if len(large) < EXPLODING_LIMITS["times"]:
        return None
    max_norm = float(f"{usual:.2g}")
    evidence = (
        f"{len(large)} gradient norms of the last {len(norms)} exceed {threshold:.0f} x their "
        f"median, the largest {max(norms) / usual:.0f} x"
    )
    change = f"clip gradients to norm {max_norm:.2g}, their median"
    return Finding("", evidence, change, {"max_norm": max_norm})


def _find_clipped(history: History, threshold: float) -> Finding | None:
    gradients, losses = history.gradients, history.losses
    norms = [norm for _, norm in gradients.totals]
    if len(norms) < CLIPPED_LIMITS["measured"] or history.losses.nonfinite:
        return None
    if history.readings.steps_read:
        return None  # Adam's updates do not depend on the scale of gradients
    if not 0 < max(norms) <= (1 + threshold) * min(norms):
        return None
    if losses.total < CLIPPED_LIMITS["losses"] or losses.start <= 0:
        return None
    if losses.recent_median < CLIPPED_LIMITS["fallen"] * losses.start:
        return None
    evidence = (
        f"gradient norm {norms[-1]:.3g} at each of {len(norms)} measured steps: clipping sets it; "
        f"median loss {losses.recent_median:.4g}, {losses.start:.4g} at the start"
    )
    change = "clip to a larger norm, such as the median of the norms before clipping"
    return Finding("", evidence, change, {})


NO_GRADIENT = Detector(
    cause=MISSING_CAUSE,
    why="These parameters are in the optimizer, but are not trained.",
    find=_find_missing,
    when=STEP,
)
GRADIENTS_NOT_ZEROED = Detector(
    cause=NOT_ZEROED_CAUSE,
    why="Every step follows the sum of all gradients so far.",
    find=_find_not_zeroed,
    when=STEP,
)
EXPLODING_GRADIENTS = Detector(
    cause=EXPLODING_CAUSE,
    why="Rare, huge gradients stay in v for 1 / (1 - beta2) steps and in m for 1 / (1 - beta1).",
    find=_find_exploding,
    when=STEP,
)
CLIPPED_GRADIENTS = Detector(
    cause=CLIPPED_CAUSE,
    why="Without a second moment the size of every update is lr times the norm that clipping leaves.",
    find=_find_clipped,
    when=STEP,
)

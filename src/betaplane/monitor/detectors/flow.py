"""Detectors of causes in the flow of gradients: none, accumulated by mistake, or exploding."""

from __future__ import annotations

import math

from betaplane.monitor.detectors.detector import STEP, Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.quantities.formulas import TINY

MISSING_CAUSE = "no gradient"
KEPT_CAUSE = "gradients not zeroed"
EXPLODING_CAUSE = "exploding gradients"
MISSING_LIMITS = limits(MISSING_CAUSE)
KEPT_LIMITS = limits(KEPT_CAUSE)
EXPLODING_LIMITS = limits(EXPLODING_CAUSE)


def _find_missing(history: History, threshold: float) -> Finding | None:
    pulses = history.pulses
    if pulses.step < threshold or pulses.count % MISSING_LIMITS["pulses"]:
        return None
    silent = [
        i
        for i, n in enumerate(pulses.silent)
        if n >= MISSING_LIMITS["pulses"]
        and pulses.step - pulses.seen[i] >= threshold
        and pulses.trained[i]
    ]
    if not any(pulses.is_matrix[i] for i in silent) or len(silent) == len(pulses.layers):
        return None  # the gradient of a bias may be 0 because the loss does not depend on it
    never = [i for i in silent if not pulses.reached[i]]
    layers = never or silent
    zeros = [i for i in layers if not pulses.missing[i]]
    kind = "gradients of exactly 0" if zeros else "no gradient"
    since = "ever" if never else f"since step {max(pulses.seen[i] for i in layers)}"
    names = [pulses.layers[i] for i in layers]
    evidence = (
        f"{kind} {since} in {len(names)} of {len(pulses.layers)} tensors ({', '.join(names[:3])})"
    )
    change = (
        "check that the loss depends on them: detach(), no_grad, dead activations, unused layers"
    )
    return Finding(names[0], evidence, change, {})


def _find_kept(history: History, threshold: float) -> Finding | None:
    pulses = history.pulses
    if pulses.kept < threshold:
        return None
    norms = [norm for _, norm in pulses.totals if math.isfinite(norm)]
    if len(norms) < 2 or max(norms) < KEPT_LIMITS["growth"] * min(norms):
        return None
    if not (pulses.added >= threshold or _correlate(history)):
        return None
    evidence = (
        f"gradients were added to the same tensors at {pulses.kept} steps in a row without a reset, and their norm "
        f"grew {max(norms) / max(min(norms), TINY):.1f} x"
    )
    return Finding("", evidence, "call optimizer.zero_grad() before each backward", {})


def _correlate(history: History) -> bool:
    """Whether consecutive gradients are almost parallel, as sums of gradients are."""
    steps = int(KEPT_LIMITS["steps"])
    correlations = [step.correlation for step in history.correlations][-steps:]
    return len(correlations) == steps and min(correlations) >= KEPT_LIMITS["correlation"]


def _find_exploding(history: History, threshold: float) -> Finding | None:
    norms = [norm for _, norm in history.pulses.totals if norm < math.inf]
    if len(norms) < EXPLODING_LIMITS["pulses"] or norms[-1] <= threshold * min(norms):
        return None
    usual = history.pulses.usual_norm
    if not usual > 0 or norms[-1] <= threshold * usual:
        return None
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


NO_GRADIENT = Detector(
    cause=MISSING_CAUSE,
    why="These parameters are in the optimizer, but are not trained.",
    find=_find_missing,
    when=STEP,
)
KEPT_GRADIENTS = Detector(
    cause=KEPT_CAUSE,
    why="Every step follows the sum of all gradients so far.",
    find=_find_kept,
    when=STEP,
)
EXPLODING_GRADIENTS = Detector(
    cause=EXPLODING_CAUSE,
    why="Rare, huge gradients stay in v for 1 / (1 - beta2) steps and in m for 1 / (1 - beta1).",
    find=_find_exploding,
    when=STEP,
)

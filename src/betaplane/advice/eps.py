"""Recommend eps: small compared with sqrt(v), and not 0 in the dtype of the run."""

from __future__ import annotations

import math

from betaplane.advice.measurements import Checkpoint
from betaplane.advice.recommendation import HEURISTIC, MEASURED, PUBLISHED, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import vanishing_eps

DEFAULT = 1e-8
LARGE_MODEL_EPS = 1e-15
LOW, HIGH = 1e-20, 1e-6
LARGE_MODEL_PARAMS = 1e9
REDUCTION = 1e-4  # factor of eps if too many gradients are below it
MAX_DAMPED = 0.01  # fraction of elements with sqrt(v_hat) < eps above which eps is reduced


def eps(run: RunSpec) -> Decision:
    """1e-8, or the value carried over; less if gradients are, or should be, smaller than eps."""
    if run.checkpoint is not None:
        return _measured(run, run.checkpoint)
    if run.carried.eps is not None:
        return _carried(run, run.carried.eps)
    if run.params is not None and run.params >= LARGE_MODEL_PARAMS:
        reason = "Gradients per element shrink toward eps as models grow; at 4.8B parameters 1e-15 helped."
        return Decision(
            Recommendation(
                "eps",
                LARGE_MODEL_EPS,
                LOW,
                DEFAULT,
                reason,
                "eps << sqrt(v)",
                ("wortsman2023b",),
                PUBLISHED,
            )
        )
    reason = "From 1e-20 to 1e-6 losses hardly differ while eps is well below sqrt(v)."
    row = Recommendation(
        "eps", DEFAULT, LOW, HIGH, reason, "eps << sqrt(v)", ("orvieto2025", "wen2025"), PUBLISHED
    )
    return Decision(row, (), _too_small(run, DEFAULT))


def _measured(run: RunSpec, checkpoint: Checkpoint) -> Decision:
    current, damped = checkpoint.settings.eps or DEFAULT, checkpoint.damped
    if math.isnan(damped):
        reason = (
            "Your checkpoint lacks the step or betas, so sqrt(v_hat) is unknown; eps is unchanged."
        )
        row = Recommendation(
            "eps",
            current,
            LOW,
            max(current, HIGH),
            reason,
            "unknown",
            ("your_checkpoint",),
            HEURISTIC,
        )
        return Decision(row, (), _too_small(run, current))
    value = current if damped < MAX_DAMPED else min(current, DEFAULT) * REDUCTION
    share = f"{damped:.2%} of {checkpoint.numbers:,} elements have sqrt(v) < eps = {current:g}"
    reduction_note = (
        f"; reduced to {REDUCTION:g} times {'that' if current <= DEFAULT else f'the default {DEFAULT:g}'}"
        if value < current
        else ""
    )
    reason = f"In your checkpoint {share}{reduction_note}."
    row = Recommendation(
        "eps",
        value,
        LOW,
        max(current, value),
        reason,
        "share with sqrt(v_hat) < eps",
        ("your_checkpoint",),
        MEASURED,
    )
    return Decision(row, (), _too_small(run, value))


def _carried(run: RunSpec, value: float) -> Decision:
    reason = (
        "Noise, and with it sqrt(v), scales as 1 / sqrt(batch)."
        if value
        else "It was 0 and stays 0."
    )
    row = Recommendation(
        "eps",
        value,
        min(LOW, value),
        max(HIGH, value),
        reason,
        "eps / sqrt(k)",
        ("malladi2022",),
        HEURISTIC,
    )
    return Decision(row, (), _too_small(run, value))


def _too_small(run: RunSpec, value: float) -> tuple[str, ...]:
    if run.dtype != "float16" or value > vanishing_eps(0.0, "float16"):
        return ()
    return (f"eps = {value:g} is 0 in float16: keep the optimizer states in float32.",)

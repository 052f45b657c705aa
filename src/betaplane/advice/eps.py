"""Advice on eps: small beside sqrt(v), large enough for the number format."""

from __future__ import annotations

import math

from betaplane.advice.recommendation import HEURISTIC, MEASURED, PUBLISHED, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import vanishing_eps

USUAL, LARGE_MODEL = 1e-8, 1e-15
LOW, HIGH = 1e-20, 1e-6
LARGE = 1e9  # parameters
LOWERED = 1e-4  # what eps is multiplied by where gradients are below it
DAMPED = 0.01  # share of coordinates below eps that is worth changing it for


def eps(case: RunSpec) -> Decision:
    """1e-8, or the one before over sqrt(k); smaller where gradients are seen or expected to be."""
    if case.checkpoint is not None:
        return _measured(case)
    if case.carried.eps is not None:
        return _carried(case, case.carried.eps)
    if (case.params or 0) >= LARGE:
        reason = "Gradients of an entry shrink as models grow, towards eps; at 4.8B parameters 1e-15 helped."
        return Decision(
            Recommendation(
                "eps",
                LARGE_MODEL,
                LOW,
                USUAL,
                reason,
                "eps << sqrt(v)",
                ("wortsman2023b",),
                PUBLISHED,
            )
        )
    reason = "From 1e-20 to 1e-6 losses hardly differ while it stays well below sqrt(v)."
    row = Recommendation(
        "eps", USUAL, LOW, HIGH, reason, "eps << sqrt(v)", ("orvieto2025", "wen2025"), PUBLISHED
    )
    return Decision(row, (), _too_small(case, USUAL))


def _measured(case: RunSpec) -> Decision:
    found = case.checkpoint
    now = (found.settings.eps if found else None) or USUAL
    damped = found.damped if found else 0.0
    if math.isnan(damped):
        reason = "Your checkpoint lacks the step or betas, so the size of sqrt(v_hat) is unknown; eps stays as it is."
        row = Recommendation(
            "eps", now, LOW, max(now, HIGH), reason, "unknown", ("your_checkpoint",), HEURISTIC
        )
        return Decision(row, (), _too_small(case, now))
    value = now if damped < DAMPED else min(now, USUAL) * LOWERED
    share = (
        f"{damped:.2%} of {found.numbers if found else 0:,} numbers have sqrt(v) < eps = {now:g}"
    )
    lowered = (
        f"; lowered to {LOWERED:g} of {'it' if now <= USUAL else f'the usual {USUAL:g}'}"
        if value < now
        else ""
    )
    reason = f"In your checkpoint {share}{lowered}."
    row = Recommendation(
        "eps",
        value,
        LOW,
        max(now, value),
        reason,
        "share with sqrt(v_hat) < eps",
        ("your_checkpoint",),
        MEASURED,
    )
    return Decision(row, (), _too_small(case, value))


def _carried(case: RunSpec, value: float) -> Decision:
    reason = (
        "Noise, and with it sqrt(v), goes as 1 / sqrt(batch)." if value else "It was 0 and stays 0."
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
    return Decision(row, (), _too_small(case, value))


def _too_small(case: RunSpec, value: float) -> tuple[str, ...]:
    if case.dtype != "float16" or value > vanishing_eps(0.0, "float16"):
        return ()
    return (f"eps = {value:g} is 0 in float16: keep the states and their arithmetic in float32.",)

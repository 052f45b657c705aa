"""Recommend gradient accumulation, the storage format of states, and the stage of ZeRO."""

from __future__ import annotations

import math

from betaplane.advice.recommendation import HEURISTIC, PUBLISHED, THEOREM, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import state_bytes, zero_bytes

CONTEXT_TOKENS = 512  # of the sequences with which the critical batch was fitted
MIN_BFLOAT16_GAP = 2.0**-8  # 1 - beta2 below which a moment rounded to bfloat16 cannot change
STAGES = (0, 1, 2, 3)


def accumulation(run: RunSpec) -> Decision:
    """No accumulation: a smaller batch with a larger beta2 is as good per step, with more steps."""
    reason = "Accumulation is a larger batch with fewer steps; small batches with a larger beta2 did as well."
    critical = critical_batch(run)
    high = 1.0 if critical is None else max(1.0, critical / run.batch)
    formula = (
        "1 micro-batch per step"
        if critical is None
        else f"critical batch {critical:.2g} tokens / batch"
    )
    row = Recommendation(
        "gradient accumulation",
        1.0,
        1.0,
        high,
        reason,
        formula,
        ("marek2025", "zhang2024"),
        PUBLISHED,
    )
    over = critical is not None and run.batch > critical
    times = f"{run.batch / (critical or 1):.2g} times"
    note = f"The batch is {times} the critical one: larger batches save few steps here."
    return Decision(row, (), (note,) if over else ())


def critical_batch(run: RunSpec) -> float | None:
    """The largest batch, in tokens, whose saving of steps is proportional to within 20%.

    It holds for a Chinchilla-optimal run; None if the run is not one of a language model.
    """
    if run.unit != "tokens" or not run.params:
        return None
    law = run.evidence.laws["critical_batch"]
    return CONTEXT_TOKENS * law["factor"] * (run.params / 1e6) ** law["a"]


def states(run: RunSpec, beta2: float) -> Decision:
    """float32, or 8 bits if float32 does not fit at any stage of ZeRO."""
    short = _stage(run, state_bytes(2)) is None
    value = "8bit" if short else "float32"
    why = "float32 does not fit" if short else "It fits, as far as known"
    stuck = 1 - beta2 < MIN_BFLOAT16_GAP
    reason = (
        f"{why}; v rounded to bfloat16 would stop changing at this beta2."
        if stuck
        else f"{why}; bfloat16 needs stochastic rounding."
    )
    formula = (
        f"1 - beta2 {'<' if stuck else '>='} 2^-8; {state_bytes(2, value):.3g} bytes per parameter"
    )
    return Decision(
        Recommendation(
            "state format",
            value,
            None,
            None,
            reason,
            formula,
            ("dettmers2022", "betaplane"),
            THEOREM if stuck else HEURISTIC,
        )
    )


def zero(run: RunSpec, form: str) -> Decision:
    """The lowest stage that fits the memory of a device."""
    per_state = state_bytes(2, form)
    formula = "bytes of weights, gradients, float32 copy and states per device"
    sources = ("rajbhandari2020",)
    if run.params is None:
        reason = "Give params, ranks and memory to compute it; one device has nothing to split."
        return Decision(
            Recommendation("ZeRO stage", 0.0, 0.0, 3.0, reason, formula, sources, HEURISTIC)
        )
    stage = _stage(run, per_state)
    need = _gigabytes(run, 3 if stage is None else stage, per_state)
    where = f"on each of {run.ranks} devices" if run.ranks > 1 else "on the device"
    limit = "" if run.memory is None else f", of {run.memory:g} GB"
    reason = f"It takes {need:.3g} GB {where}{limit}, without activations; higher stages communicate more."
    row = Recommendation(
        "ZeRO stage",
        float(3 if stage is None else stage),
        0.0,
        3.0,
        reason,
        formula,
        sources,
        THEOREM,
    )
    return Decision(
        row,
        (),
        (f"Even stage 3 takes {need:.3g} GB per device, of {run.memory:g}.",)
        if stage is None
        else (),
    )


def _stage(run: RunSpec, per_state: float) -> int | None:
    """The lowest stage that fits: 0 if the memory is unknown, None if no stage fits."""
    if run.params is None or run.memory is None:
        return 0
    return next(
        (
            stage
            for stage in STAGES
            if _gigabytes(run, stage, per_state) <= (run.memory or math.inf)
        ),
        None,
    )


def _gigabytes(run: RunSpec, stage: int, per_state: float) -> float:
    mixed = {} if run.dtype != "float32" else {"weights": 4.0, "gradients": 4.0, "copy": 0.0}
    return zero_bytes(run.params or 1, run.ranks, stage, per_state, **mixed) / 1e9

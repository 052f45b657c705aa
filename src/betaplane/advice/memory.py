"""Advice on what costs memory: gradient accumulation, the format of the states, the stage of ZeRO."""

from __future__ import annotations

import math

from betaplane.advice.recommendation import HEURISTIC, PUBLISHED, THEOREM, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import state_bytes, zero_bytes

CONTEXT = 512  # tokens of the sequences in which the critical batch was fitted
STUCK = 2.0**-8  # 1 - beta2 below which an average rounded to bfloat16 stands still
STAGES = (0, 1, 2, 3)


def accumulation(case: RunSpec) -> Decision:
    """None: a smaller batch with a larger beta2 does as well a step, and takes more of them."""
    reason = "Accumulating is a larger batch at the price of steps; small batches with a larger beta2 did as well."
    critical = critical_batch(case)
    high = 1.0 if critical is None else max(1.0, critical / case.batch)
    formula = (
        "1 micro-batch a step"
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
    over = critical is not None and case.batch > critical
    times = f"{case.batch / (critical or 1):.2g} times"
    note = f"The batch is {times} the critical one: larger batches save few steps here."
    return Decision(row, (), (note,) if over else ())


def critical_batch(case: RunSpec) -> float | None:
    """The largest batch, in tokens, that saves steps in proportion to within 20 %; of a
    Chinchilla-optimal run.
    """
    if case.unit != "tokens" or not case.params:
        return None
    law = case.evidence.laws["critical_batch"]
    return CONTEXT * law["factor"] * (case.params / 1e6) ** law["a"]


def states(case: RunSpec, beta2: float) -> Decision:
    """float32, or 8 bits where memory is short on every stage of ZeRO."""
    short = _stage(case, state_bytes(2)) is None
    value = "8bit" if short else "float32"
    why = "float32 does not fit" if short else "It fits, as far as is known"
    stuck = 1 - beta2 < STUCK
    reason = (
        f"{why}; v rounded to bfloat16 would stand still at this beta2."
        if stuck
        else f"{why}; bfloat16 needs rounding at random."
    )
    formula = (
        f"1 - beta2 {'<' if stuck else '>='} 2^-8; {state_bytes(2, value):.3g} bytes a parameter"
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


def zero(case: RunSpec, form: str) -> Decision:
    """The lowest stage that fits the memory of a device."""
    per_state = state_bytes(2, form)
    formula = "bytes of weights, gradients, float32 copy and states a device"
    sources = ("rajbhandari2020",)
    if case.params is None:
        reason = "Tell --params, --ranks and --memory to have it computed; one device has nothing to split."
        return Decision(
            Recommendation("ZeRO stage", 0.0, 0.0, 3.0, reason, formula, sources, HEURISTIC)
        )
    stage = _stage(case, per_state)
    need = _gigabytes(case, 3 if stage is None else stage, per_state)
    where = f"on each of {case.ranks} devices" if case.ranks > 1 else "on the device"
    limit = "" if case.memory is None else f", of {case.memory:g} GB"
    reason = f"It takes {need:.3g} GB {where}{limit}, activations apart; higher stages talk more."
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
        (f"Even stage 3 takes {need:.3g} GB a device, of {case.memory:g}.",)
        if stage is None
        else (),
    )


def _stage(case: RunSpec, per_state: float) -> int | None:
    """The lowest stage that fits; 0 where nothing says that it would not, None where none does."""
    if case.params is None or case.memory is None:
        return 0
    return next(
        (
            stage
            for stage in STAGES
            if _gigabytes(case, stage, per_state) <= (case.memory or math.inf)
        ),
        None,
    )


def _gigabytes(case: RunSpec, stage: int, per_state: float) -> float:
    mixed = {} if case.dtype != "float32" else {"weights": 4.0, "gradients": 4.0, "copy": 0.0}
    return zero_bytes(case.params or 1, case.ranks, stage, per_state, **mixed) / 1e9

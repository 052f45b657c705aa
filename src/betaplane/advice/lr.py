"""Advice on the peak learning rate: the one before, carried over; else published power laws; else
torch's default.
"""

from __future__ import annotations

import numpy as np

from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
)
from betaplane.advice.run_spec import RunSpec

USUAL = 1e-3
LOW, HIGH = 1e-4, 1e-2


def lr(case: RunSpec) -> Decision:
    """The learning rate before, times sqrt(k); a power law of the model and its data; or torch's
    default.
    """
    if case.carried.lr is not None:
        return _carried(case, case.carried.lr)
    if case.unit == "tokens" and case.params and case.total:
        return _by_laws(case)
    reason = "Nothing published fits a run of which only this is known: sweep it, it matters most."
    return Decision(
        Recommendation("lr", USUAL, LOW, HIGH, reason, "torch's default", ("torch",), HEURISTIC)
    )


def batch_exponent(case: RunSpec) -> float:
    """The a of lr ~ batch^a, fitted to the published best learning rates at six batch sizes."""
    law = case.evidence.laws["lr_by_batch"]
    return float(np.polyfit(np.log(law["batch"]), np.log(law["lr"]), 1)[0])


def _carried(case: RunSpec, value: float) -> Decision:
    k, a = case.factor, batch_exponent(case)
    old = value / k**0.5
    candidates = (
        Candidate("sqrt(k) (Malladi et al.)", value, ("malladi2022",), chosen=True),
        Candidate(f"k^{a:.2f}, fitted to Marek et al.", old * k**a, ("marek2025",)),
        Candidate("unchanged", old, ("marek2025",)),
    )
    ends = sorted(one.value for one in candidates)
    reason = "Noise, and with it sqrt(v), goes as 1 / sqrt(batch); steps of this size keep the path of the weights."
    sources = "malladi2022", "marek2025"
    formula = f"lr sqrt(k), k = {k:.4g}"
    return Decision(
        Recommendation("lr", value, ends[0], ends[-1], reason, formula, sources, PUBLISHED),
        candidates,
    )


def _by_laws(case: RunSpec) -> Decision:
    found = [
        Candidate(label, value, (source,), source == "li2025")
        for label, value, source in _laws(case)
    ]
    value = found[0].value
    ends = min(one.value for one in found), max(one.value for one in found)
    reason = "Of the published fits it rests on the most runs, and is the only one in parameters and tokens both."
    formula = "1.79 params^-0.713 tokens^0.307"
    return Decision(
        Recommendation("lr", value, *ends, reason, formula, ("li2025",), PUBLISHED), tuple(found)
    )


def _laws(case: RunSpec) -> list[tuple[str, float, str]]:
    N, D, laws = case.params or 1.0, case.total or 1.0, case.evidence.laws
    step, deepseek, porian = laws["lr_step_law"], laws["lr_deepseek"], laws["lr_porian"]
    return [
        ("Step Law (Li et al.)", step["factor"] * N ** step["a"] * D ** step["b"], "li2025"),
        ("DeepSeek LLM (Bi et al.)", deepseek["factor"] * (6 * N * D) ** deepseek["a"], "bi2024"),
        ("Porian et al.", porian["factor"] * N ** porian["a"], "porian2024"),
    ]

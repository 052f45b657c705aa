"""Recommend the peak learning rate, from a working setting, power laws, or torch's default."""

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

DEFAULT = 1e-3
LOW, HIGH = 1e-4, 1e-2


def lr(run: RunSpec) -> Decision:
    """The working learning rate times sqrt(k), else a power law, else torch's default."""
    if run.carried.lr is not None:
        return _carried(run, run.carried.lr)
    if run.unit == "tokens" and run.params and run.total:
        return _by_laws(run)
    reason = "No published result covers this run: sweep the learning rate, it matters most."
    return Decision(
        Recommendation("lr", DEFAULT, LOW, HIGH, reason, "torch's default", ("torch",), HEURISTIC)
    )


def batch_exponent(run: RunSpec) -> float:
    """The exponent a of lr ~ batch^a, fitted to the best learning rates at six batch sizes."""
    law = run.evidence.laws["lr_by_batch"]
    return float(np.polyfit(np.log(law["batch"]), np.log(law["lr"]), 1)[0])


def _carried(run: RunSpec, value: float) -> Decision:
    k, a = run.factor, batch_exponent(run)
    old = value / k**0.5
    candidates = (
        Candidate("sqrt(k) (Malladi et al.)", value, ("malladi2022",), chosen=True),
        Candidate(f"k^{a:.2f}, fitted to Marek et al.", old * k**a, ("marek2025",)),
        Candidate("unchanged", old, ("marek2025",)),
    )
    ends = sorted(candidate.value for candidate in candidates)
    reason = "Noise, and with it sqrt(v), scales as 1 / sqrt(batch); steps of this size keep the path of the weights."
    sources = "malladi2022", "marek2025"
    formula = f"lr sqrt(k), k = {k:.4g}"
    return Decision(
        Recommendation("lr", value, ends[0], ends[-1], reason, formula, sources, PUBLISHED),
        candidates,
    )


def _by_laws(run: RunSpec) -> Decision:
    candidates = [
        Candidate(label, value, (source,), source == "li2025")
        for label, value, source in _laws(run)
    ]
    value = candidates[0].value
    values = [candidate.value for candidate in candidates]
    reason = (
        "Of the published fits it has the most runs, and only it uses both parameters and tokens."
    )
    formula = "1.79 params^-0.713 tokens^0.307"
    return Decision(
        Recommendation(
            "lr", value, min(values), max(values), reason, formula, ("li2025",), PUBLISHED
        ),
        tuple(candidates),
    )


def _laws(run: RunSpec) -> list[tuple[str, float, str]]:
    N, D, laws = run.params or 1.0, run.total or 1.0, run.evidence.laws
    step, deepseek, porian = laws["lr_step_law"], laws["lr_deepseek"], laws["lr_porian"]
    return [
        ("Step Law (Li et al.)", step["factor"] * N ** step["a"] * D ** step["b"], "li2025"),
        ("DeepSeek LLM (Bi et al.)", deepseek["factor"] * (6 * N * D) ** deepseek["a"], "bi2024"),
        ("Porian et al.", porian["factor"] * N ** porian["a"], "porian2024"),
    ]

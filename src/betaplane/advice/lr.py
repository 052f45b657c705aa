"""Recommend the peak learning rate, from a working setting, power laws, or torch's default."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

import numpy as np

from betaplane.advice.evidence import LrSweep
from betaplane.advice.recommendation import (
    HEURISTIC,
    PUBLISHED,
    Candidate,
    Decision,
    Recommendation,
)
from betaplane.advice.run_spec import RunSpec
from betaplane.advice.settings import LR_EXPONENT

DEFAULT = 1e-3
LOW, HIGH = 1e-4, 1e-2
CARRIED_FACTOR = math.sqrt(2)  # the step of most grids of lr, by which the range is widened
LAW_FACTOR = 2.0  # 87% of the best lr of the law's own sweeps lie within this factor of it


def lr(run: RunSpec) -> Decision:
    """The working learning rate carried over by the batch size, else a power law, else torch's default."""
    if run.carried.lr is not None:
        return _carried(run, run.carried.lr)
    if run.unit == "tokens" and run.params and run.total:
        return _by_laws(run)
    reason = "No published result covers this run: sweep the learning rate, it matters most."
    return Decision(
        Recommendation("lr", DEFAULT, LOW, HIGH, reason, "torch's default", ("torch",), HEURISTIC)
    )


def batch_exponent(sweeps: Iterable[LrSweep]) -> float:
    """The exponent a of lr ~ batch^a, the mean over sources of their least-squares exponents.

    Args:
        sweeps: best learning rates at two or more batch sizes each.

    Returns:
        The exponent of all pairs of batch sizes within sweeps.

    Example:
        >>> sweep = LrSweep("a", "s", batch=(1.0, 16.0), lr=(1e-3, 2e-3))
        >>> f"{batch_exponent([sweep]):.2f}"
        '0.25'
    """
    products: dict[str, list[np.ndarray]] = {}
    for sweep in sweeps:
        k, ratio = batch_pairs(sweep)
        sums = np.array([(k * ratio).sum(), (k**2).sum()])
        products.setdefault(sweep.source, []).append(sums)
    totals = [np.sum(sums, axis=0) for sums in products.values()]
    return fmean(float(above / below) for above, below in totals)


def batch_pairs(sweep: LrSweep) -> tuple[np.ndarray, np.ndarray]:
    """The logarithms of the ratios of batch sizes and of learning rates, of all pairs of a sweep."""
    batch, rates = np.log(sweep.batch), np.log(sweep.lr)
    i, j = np.triu_indices(len(batch), 1)
    return batch[j] - batch[i], rates[j] - rates[i]


def _carried(run: RunSpec, value: float) -> Decision:
    k = run.factor
    old = value / k**LR_EXPONENT
    candidates = (
        Candidate(
            f"k^{LR_EXPONENT}, fitted to sweeps", value, ("marek2025", "li2025"), chosen=True
        ),
        Candidate("sqrt(k) (Malladi et al.)", old * k**0.5, ("malladi2022",)),
        Candidate("unchanged", old, ("marek2025",)),
    )
    values = [candidate.value for candidate in candidates]
    reason = (
        f"The best lr rose as batch^{LR_EXPONENT} in published sweeps; sqrt(k), the theory for gradients "
        "dominated by noise, changed it too much."
        if k != 1
        else "It works at this batch size."
    )
    sources = "marek2025", "orvieto2025", "li2025", "malladi2022"
    formula = f"lr k^{LR_EXPONENT}, k = {k:.4g}"
    ends = min(values) / CARRIED_FACTOR, max(values) * CARRIED_FACTOR
    row = Recommendation("lr", value, *ends, reason, formula, sources, PUBLISHED)
    return Decision(row, candidates)


def _by_laws(run: RunSpec) -> Decision:
    candidates = [
        Candidate(label, value, (source,), chosen) for label, value, source, chosen in _laws(run)
    ]
    value = candidates[0].value
    values = [candidate.value for candidate in candidates]
    reason = (
        "Of the published fits it has the most runs, and only it uses parameters, tokens and batch."
    )
    formula = (
        f"1.79 params^-0.713 tokens^0.307 (batch / 0.58 tokens^0.571)^{LR_EXPONENT}, within "
        f"a factor of {LAW_FACTOR:g}"
    )
    ends = min(*values, value / LAW_FACTOR), max(*values, value * LAW_FACTOR)
    outside = _outside(run)
    row = Recommendation(
        "lr", value, *ends, reason, formula, ("li2025",), HEURISTIC if outside else PUBLISHED
    )
    return Decision(row, tuple(candidates), outside)


def _laws(run: RunSpec) -> list[tuple[str, float, str, bool]]:
    """Label, value, source of the laws, and whether it is chosen."""
    N, D, laws = run.params or 1.0, run.total or 1.0, run.evidence.laws
    step, deepseek, porian = laws["lr_step_law"], laws["lr_deepseek"], laws["lr_porian"]
    best = step["factor"] * N ** step["a"] * D ** step["b"]
    batch = laws["batch_step_law"]["factor"] * D ** laws["batch_step_law"]["a"]
    at_batch = best * (run.batch / batch) ** LR_EXPONENT
    return [
        ("Step Law (Li et al.) at this batch", at_batch, "li2025", True),
        (f"Step Law at its best batch of {batch:.2g} tokens", best, "li2025", False),
        (
            "DeepSeek LLM (Bi et al.)",
            deepseek["factor"] * (6 * N * D) ** deepseek["a"],
            "bi2024",
            False,
        ),
        ("Porian et al.", porian["factor"] * N ** porian["a"], "porian2024", False),
    ]


def _outside(run: RunSpec) -> tuple[str, ...]:
    """A warning if the run is outside of the range that the law was fitted in."""
    law = run.evidence.laws["lr_step_law"]
    given = {"params": run.params, "tokens": run.total, "batch": run.batch}
    beyond = [
        f"{name} {law[name][0]:.2g} to {law[name][1]:.2g}"
        for name, value in given.items()
        if name in law and not law[name][0] <= (value or 0) <= law[name][1]
    ]
    if not beyond:
        return ()
    return (
        f"The law for lr was fitted for {', '.join(beyond)}; here it is extrapolated: sweep lr.",
    )

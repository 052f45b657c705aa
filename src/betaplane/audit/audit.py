"""The audit: the published rule that an optimizer class computes, its variant, and side effects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.audit import contract, decay, effects, invariance, probes, side_effects
from betaplane.audit.black_box import BlackBox, Unmeasured, error_text, with_seed
from betaplane.audit.identify import (
    FLOAT32_ERROR,
    FLOAT64_ERROR,
    MAX_NEAR_ERROR,
    STAGES,
    Candidate,
    match,
)
from betaplane.audit.probes import Finding
from betaplane.audit.trial import Refused
from betaplane.errors import expect_function
from betaplane.rules import ALL
from betaplane.text import json_safe

PROBES: dict[str, Callable[[BlackBox], Finding]] = {
    "options": effects.options,
    "learning rate": effects.learning_rate,
    "first step": probes.first_step,
    "largest step": probes.largest_step,
    "rescaling": invariance.rescaling,
    "bias correction": probes.debiasing,
    "late gradient": probes.late_gradient,
    "place of eps": probes.eps_place,
    "effective eps": probes.effective_eps,
    "floor of eps": probes.eps_floor,
    "weight decay": decay.decay,
    "order of decay": decay.decay_order,
    "zero gradient, lr=0": probes.zero_gradient,
    "maximize": probes.maximize,
    "neighbors": contract.neighbors,
    "groups": contract.groups,
    "schedulers": contract.schedules,
    "closure": contract.closures,
    "gradients": side_effects.gradient_changes,
    "beta2=1.5": side_effects.invalid_beta2,
    "beta1=-0.1": side_effects.invalid_beta1,
    "lr=-1": side_effects.invalid_lr,
    "state of float32": side_effects.float32_state,
    "state of bfloat16": side_effects.bfloat16_state,
    "bfloat16 weights": side_effects.bfloat16_steps,
    "complex weights": side_effects.complex_parameters,
    "other layouts": side_effects.layouts,
    "copies": side_effects.copies,
}


@dataclass(frozen=True)
class AuditRow:
    """One row of an audit."""

    what: str
    finding: str
    number: float | None = None  # the measurement
    trouble: bool = False  # important before training with the class


@dataclass(frozen=True)
class Audit:
    """The result of an audit of an optimizer class."""

    name: str  # module and class
    options: dict[str, Any]  # constructor arguments that are not defaults
    rule: str | None  # the published rule that it computes, or None
    nearest: str | None  # the rule with the nearest paths, None if none is near
    dialect: dict[str, Any]  # options of the nearest rule that are not its defaults
    unlike: tuple[str, ...]  # differences from every published form of that rule
    error: float | None  # largest relative difference from the nearest rule's path
    rows: tuple[AuditRow, ...] = field(repr=False)

    def __getitem__(self, what: str) -> AuditRow:
        """The row of that name."""
        return {row.what: row for row in self.rows}[what]

    def to_dict(self) -> dict[str, Any]:
        """Data for JSON: numbers are finite or None, other values are text."""
        return json_safe(asdict(self), default=repr)


def audit(
    cls: type[Optimizer], progress: Callable[[int, int], None] | None = None, /, **options: Any
) -> Audit:
    """Measure what an optimizer class computes, on small float64 tensors and from outside.

    Its paths are compared with those of every rule of `betaplane.rules.ALL` in every variant, with
    betas, eps, decay and schedules that distinguish them. The class computes a rule if no path
    differs by more than 1e-9 of its length (1e-5 if the class computes in float32).

    Args:
        cls: a subclass of torch.optim.Optimizer.
        progress: called with (finished tests, all tests) after each test.
        options: constructor arguments of the class, used in every test.

    Returns:
        The findings, one per row. An exception of the class is a finding, with its message.

    Raises:
        BadInput: cls is not an optimizer class, needs another argument, or rejects one.

    Source: the rules are those of `betaplane.rules`, each with its own.

    Example:
        >>> import torch
        >>> result = audit(torch.optim.RAdam)
        >>> result.rule, result.dialect
        ('RAdam', {})
        >>> result["late gradient"].finding
        'each parameter counts its own steps'
        >>> result["effective eps"].finding, round(result["effective eps"].number, 9)
        ('at step 8, 11.2 times the option eps=1e-08', 1.12e-07)
    """
    if progress is not None:
        expect_function(progress, "progress", "audit(MyAdam, print)", "audit", takes=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the class
        return with_seed(
            lambda: _audit(BlackBox(cls, options), progress or (lambda done, all: None))
        )


def _audit(subject: BlackBox, progress: Callable[[int, int], None]) -> Audit:
    name = f"{subject.cls.__module__}.{subject.name}"
    if subject.step_error:
        row = AuditRow("step", f"raises {error_text(subject.step_error)}", trouble=True)
        return Audit(name, subject.options, None, None, {}, (), None, (row,))
    total = STAGES + len(PROBES)
    best, verdict = _best_candidate(subject, lambda done: progress(done, total))
    rows = [verdict]
    for done, (what, probe) in enumerate(PROBES.items(), start=STAGES + 1):
        rows.append(_probe_row(what, probe, subject))
        progress(done, total)
    if best is None:
        return Audit(name, subject.options, None, None, {}, (), None, tuple(rows))
    nearest = best.kind.__name__
    rule = nearest if best.error <= FLOAT32_ERROR and not best.unlike else None
    rows = [_without_shared_trouble(row, rule) for row in rows]
    return Audit(
        name, subject.options, rule, nearest, best.options(), best.unlike, best.error, tuple(rows)
    )


def _without_shared_trouble(row: AuditRow, rule: str | None) -> AuditRow:
    """The row, without trouble if the matched rule has no use for the option either."""
    if row.what != "options" or rule is None or not row.trouble:
        return row
    return replace(row, finding=f"{row.finding}; as in {rule}", trouble=False)


def _best_candidate(
    subject: BlackBox, progress: Callable[[int], None]
) -> tuple[Candidate | None, AuditRow]:
    """The nearest candidate, if one is near in any setting, and the row for it."""
    candidates: list[Candidate] = []
    try:
        for done, stage in enumerate(match(subject), start=1):
            candidates = stage
            progress(done)
    except Refused as error:
        return None, AuditRow("rule", str(error), trouble=True)
    if not candidates or min(candidates[0].errors.values()) > MAX_NEAR_ERROR:
        text = f"none of the {len(ALL)} published ones, nor near any"
        return None, AuditRow("rule", text, trouble=True)
    return candidates[0], _rule_row(candidates[0])


def _probe_row(what: str, probe: Callable[[BlackBox], Finding], subject: BlackBox) -> AuditRow:
    """The row of a probe; an exception of the class is a finding, too."""
    try:
        return AuditRow(what, *probe(subject))
    except Unmeasured as error:
        return AuditRow(what, f"unknown: {error}", trouble=True)
    except Exception as error:
        return AuditRow(what, f"raises {error_text(error)}", trouble=True)


def _rule_row(best: Candidate) -> AuditRow:
    """The row with the rule that the class computes, or with the nearest one."""
    name = ", ".join([_call_text(best), *best.unlike])
    if best.error <= FLOAT64_ERROR:
        return AuditRow("rule", f"{name}; off by", best.error, bool(best.unlike))
    if best.error <= FLOAT32_ERROR:
        return AuditRow(
            "rule", f"{name}, to the digits of float32; off by", best.error, bool(best.unlike)
        )
    off = [setting for setting, error in best.errors.items() if error > FLOAT32_ERROR]
    where = f", the same in all but: {', '.join(off)}" if len(off) < len(best.errors) else ""
    return AuditRow(
        "rule", f"no published rule; nearest is {name}{where}; off by", best.error, True
    )


def _call_text(best: Candidate) -> str:
    pairs = best.options().items()
    choices = [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value!r}"
        for name, value in pairs
    ]
    return best.kind.__name__ + (f"({', '.join(choices)})" if choices else "")

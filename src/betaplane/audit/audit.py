"""Which published rule an optimizer class computes, in which dialect, and what else it does,
measured from outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.audit import contract, decay, effects, probes, side_effects
from betaplane.audit.black_box import BlackBox, Unmeasured, quietly, told
from betaplane.audit.identify import HOPELESS, SAME, SINGLE, STAGES, Candidate, match
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
    "bias correction": probes.debiasing,
    "late gradient": probes.late_gradient,
    "place of eps": probes.eps_place,
    "effective eps": probes.effective_eps,
    "floor of eps": probes.eps_floor,
    "weight decay": decay.decay,
    "order of decay": decay.decay_order,
    "zero gradient, lr=0": probes.rests,
    "maximize": probes.upwards,
    "neighbors": contract.neighbors,
    "groups": contract.groups,
    "schedulers": contract.schedules,
    "closure": contract.closures,
    "gradients": side_effects.gradients_kept,
    "beta2=1.5": side_effects.beta2_refused,
    "beta1=-0.1": side_effects.beta1_refused,
    "lr=-1": side_effects.lr_refused,
    "state of float32": side_effects.single_state,
    "state of bfloat16": side_effects.half_state,
    "bfloat16 weights": side_effects.half_moves,
    "complex weights": side_effects.complex_numbers,
    "other layouts": side_effects.layouts,
    "copies": side_effects.copies,
}


@dataclass(frozen=True)
class AuditRow:
    """One finding."""

    what: str
    finding: str
    number: float | None = None  # measured
    trouble: bool = False  # to be known before training with it


@dataclass(frozen=True)
class Audit:
    """What was found about an optimizer class."""

    name: str  # module and class
    options: dict[str, Any]  # that it was constructed with, beyond its defaults
    rule: str | None  # the published rule it computes, None where it computes none
    nearest: str | None  # the published rule whose paths are nearest, None where none is near
    dialect: dict[str, Any]  # the nearest rule's choices that are not its defaults
    unlike: tuple[str, ...]  # in what it is unlike every published form of the nearest rule
    error: float | None  # largest difference from the nearest rule's path, of the way gone
    rows: tuple[AuditRow, ...] = field(repr=False)

    def __getitem__(self, what: str) -> AuditRow:
        """The finding of that name."""
        return {row.what: row for row in self.rows}[what]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: numbers are finite or None, other values are told as text."""
        return json_safe(asdict(self), default=repr)


def audit(
    cls: type[Optimizer], progress: Callable[[int, int], None] | None = None, /, **options: Any
) -> Audit:
    """Measure what an optimizer class computes, on small float64 tensors and from outside.

    Its paths are compared with those of every rule of `betaplane.rules.ALL` in every dialect, under betas, eps, decay
    and schedules that tell them apart. A rule is said to be computed if no path differs by more than 1e-9 of the way
    gone (1e-5 where the class computes in float32).

    Args:
        cls: a subclass of torch.optim.Optimizer.
        progress: called with (questions answered, questions) after each.
        options: constructor options of the class; they hold in every test.

    Returns:
        The findings, one a row. What the class raises on the way is a finding, in its own words.

    Raises:
        BadInput: cls is no optimizer class, needs an option that is not given, or refuses one.

    Source: the rules are those of `betaplane.rules`, each with its own.

    Example:
        >>> import torch
        >>> found = audit(torch.optim.RAdam)
        >>> found.rule, found.dialect
        ('RAdam', {})
        >>> found["late gradient"].finding
        'each parameter counts its own steps'
        >>> found["effective eps"].finding, round(found["effective eps"].number, 9)
        ('at step 8, 11.2 times the option eps=1e-08', 1.12e-07)
    """
    if progress is not None:
        expect_function(progress, "progress", "audit(MyAdam, print)", "audit", takes=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the class; what matters is measured
        return quietly(lambda: _audit(BlackBox(cls, options), progress or (lambda done, all: None)))


def _audit(subject: BlackBox, progress: Callable[[int, int], None]) -> Audit:
    name = f"{subject.cls.__module__}.{subject.name}"
    if subject.broken:
        row = AuditRow("step", f"raises {told(subject.broken)}", trouble=True)
        return Audit(name, subject.options, None, None, {}, (), None, (row,))
    whole = STAGES + len(PROBES)
    best, verdict = _matched(subject, lambda done: progress(done, whole))
    rows = [verdict]
    for done, (what, probe) in enumerate(PROBES.items(), start=STAGES + 1):
        rows.append(_asked(what, probe, subject))
        progress(done, whole)
    if best is None:
        return Audit(name, subject.options, None, None, {}, (), None, tuple(rows))
    nearest, fits = best.kind.__name__, best.error <= SINGLE and not best.unlike
    rule = nearest if fits else None
    rows = [_explained(row, rule) for row in rows]
    return Audit(
        name, subject.options, rule, nearest, best.spelt(), best.unlike, best.error, tuple(rows)
    )


def _explained(row: AuditRow, rule: str | None) -> AuditRow:
    """The row, without trouble if the rule that is matched at several values of an option does not
    use it either.
    """
    if row.what != "options" or rule is None or not row.trouble:
        return row
    return replace(row, finding=f"{row.finding}; so it is in {rule}", trouble=False)


def _matched(
    subject: BlackBox, progress: Callable[[int], None]
) -> tuple[Candidate | None, AuditRow]:
    """The nearest candidate, if one is near under any setting, and what is said of it."""
    found: list[Candidate] = []
    try:
        for done, stage in enumerate(match(subject), start=1):
            found = stage
            progress(done)
    except Refused as error:
        return None, AuditRow("rule", str(error), trouble=True)
    if not found or min(found[0].errors.values()) > HOPELESS:
        return None, AuditRow(
            "rule", f"none of the {len(ALL)} published ones, nor near any", trouble=True
        )
    return found[0], _verdict(found[0])


def _asked(what: str, probe: Callable[[BlackBox], Finding], subject: BlackBox) -> AuditRow:
    """The probe's answer; an error of the class is one, too."""
    try:
        return AuditRow(what, *probe(subject))
    except Unmeasured as error:
        return AuditRow(what, f"unknown: {error}", trouble=True)
    except Exception as error:
        return AuditRow(what, f"raises {told(error)}", trouble=True)


def _verdict(best: Candidate) -> AuditRow:
    """The rule that the class computes, or the nearest one."""
    said = ", ".join([_call(best), *best.unlike])
    if best.error <= SAME:
        return AuditRow("rule", f"{said}; off by", best.error, bool(best.unlike))
    if best.error <= SINGLE:
        return AuditRow(
            "rule", f"{said}, to the digits of float32; off by", best.error, bool(best.unlike)
        )
    off = [name for name, error in best.errors.items() if error > SINGLE]
    where = f", the same in all but: {', '.join(off)}" if len(off) < len(best.errors) else ""
    return AuditRow(
        "rule", f"no published rule; nearest is {said}{where}; off by", best.error, True
    )


def _call(best: Candidate) -> str:
    pairs = best.spelt().items()
    choices = [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value!r}"
        for name, value in pairs
    ]
    return best.kind.__name__ + (f"({', '.join(choices)})" if choices else "")

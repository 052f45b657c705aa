"""Identify the published rule, and its variant, from the paths of an optimizer."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

import torch

from betaplane.audit.black_box import BETAS, BlackBox
from betaplane.audit.trial import DECAY, DEFAULT, LARGE_EPS, PLAIN, SMALL, TINY, Trial
from betaplane.errors import BadInput
from betaplane.rules import ADOPT, ALL, Adafactor, Adagrad, AdamAtan2, AdEMAMix, RMSprop, Rule

FLOAT64_ERROR = 1e-9  # largest relative difference that rounding in float64 explains
FLOAT32_ERROR = 1e-5  # the same in float32
STAGES = 6
MAX_CANDIDATES = 8  # candidates of the next setting; ties with the last of them are added
MAX_NEAR_ERROR = 0.5  # above it, a rule is not near
MAX_TIE_ERROR = 1e-3  # above it, ties are not kept

OTHER_NAMES: dict[type[Rule], dict[str, str]] = {  # other names of a rule's fields, best first
    Adafactor: {
        "eps1": "eps1 eps", "eps2": "eps2 eps_scale", "clip": "clip d clip_threshold clipping_threshold",
        "power": "power beta2_decay decay_rate",
    },
    Adagrad: {"initial_accumulator": "initial_accumulator initial_accumulator_value"},
    RMSprop: {"alpha": "alpha rho beta2"},
}  # fmt: skip
# values in packages whose classes have no such option
PACKAGE_VALUES: dict[type[Rule], tuple[dict[str, float], ...]] = {
    ADOPT: ({}, {"growth": 0.333}),
    AdEMAMix: ({}, {"alpha": 2.0}),
    AdamAtan2: ({}, {"a": 1.0}, {"a": 16.0, "b": 16.0}),
    RMSprop: ({}, {"initial_accumulator": 1.0}),
    Adafactor: (
        {},
        {"min_dim": 16.0},
        {"min_dim": 128.0},
        {"eps1": torch.finfo(torch.float64).eps},
    ),
}
EPS_CHOICES = ("eps_at", "eps_inside")
LATER_CHOICES = (
    *EPS_CHOICES,
    "decay",
    "cautious",
    "clip",
)  # choices that later settings distinguish
EPS_ROOTS = (
    0.0,
    1e-15,
    1e-16,
    1e-12,
    1e-8,
)  # eps_root: what libraries add inside the root by default


UNLIKE = {
    "swapped": "betas swapped",
    "complements": "betas as 1 - beta",
    "after decoupled": "decay after the step",
    "after independent": "decay after the step, independent of the peak of lr",
    "before fixed": "decay that ignores lr",
    "after fixed": "decay after the step that ignores lr",
    "before growing": "decay that makes weights grow",
    "before squared": "decay times lr twice",
}


WRONG_DECAYS = ("before growing", "before squared")


@dataclass(frozen=True)
class Candidate:
    """A rule, its variant, and differences from every published form."""

    kind: type[Rule]
    # fields that are set
    dialect: dict[str, Any] = field(default_factory=dict)
    betas: str = "as named"  # or "swapped", "complements" (1 - beta)
    # "", or a decay around the rule's own step: "before" or "after", and its rate
    decay: str = ""
    # by setting: largest relative difference
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The largest error over all settings."""
        return max(self.errors.values(), default=0.0)

    @property
    def cost(self) -> int:
        """The number of differences from the rule's defaults, weighted."""
        defaults = self._defaults()
        changes = sum(value != defaults[name] for name, value in self.dialect.items())
        own_decay = self.decay or self.dialect.get("decay", "l2") != "l2"
        changes += int(defaults.get("decay") == "l2" and bool(own_decay))
        return changes + 2 * bool(self.decay) + 3 * (self.betas != "as named")

    @property
    def unlike(self) -> tuple[str, ...]:
        """Differences from every published form."""
        return tuple(UNLIKE[way] for way in (self.betas, self.decay) if way in UNLIKE)

    def options(self) -> dict[str, Any]:
        """The options that differ from the rule's defaults."""
        defaults = self._defaults()
        return {name: value for name, value in self.dialect.items() if value != defaults[name]}

    def _defaults(self) -> dict[str, Any]:
        return {f.name: f.default for f in fields(self.kind)}

    def rule(self, numbers: Mapping[str, float], peak_lr: float) -> Rule | None:
        """The rule with the numbers of the class; None if they are invalid for it."""
        other_names = OTHER_NAMES.get(self.kind, {})
        numbers = _betas(numbers, self.betas)
        options = {"peak_lr": peak_lr or 1.0} if "peak_lr" in self.kind.ranges else {}
        for field_name in self.kind.ranges:
            names = other_names.get(field_name, field_name).split()
            known = [name for name in names if name in numbers]
            if known:
                options[field_name] = abs(numbers[known[0]])
        try:
            return self.kind(**{**options, **self.dialect})
        except BadInput:
            return None


def _betas(numbers: Mapping[str, float], reading: str) -> dict[str, float]:
    betas = {name: numbers[name] for name in BETAS if name in numbers}
    if reading == "swapped" and len(betas) > 1:
        betas |= {"beta1": betas["beta2"], "beta2": betas["beta1"]}
    if reading == "complements":
        betas = {name: 1 - value for name, value in betas.items()}
    return {**numbers, **betas}


def match(subject: BlackBox) -> Iterator[list[Candidate]]:
    """The candidates after each of at most STAGES stages, best first.

    The first candidate of the last stage is the result.

    Args:
        subject: the class.
    """
    trials = [Trial.of(subject, PLAIN)]
    candidates: list[Candidate] = []
    for added in _stages(subject):
        if not candidates or candidates[0].error > FLOAT32_ERROR:
            candidates = nearest_candidates([*candidates, *added], trials, MAX_NEAR_ERROR)
        yield candidates
    if not candidates:
        return
    is_near = candidates[0].error < MAX_TIE_ERROR  # else no variant fits
    if "eps" in subject.settable:
        variants = _variants_of_each(candidates, _eps_variants) if is_near else candidates
        trials = [Trial.of(subject, LARGE_EPS), Trial.of(subject, SMALL)]
        candidates = nearest_candidates(variants, trials)
    yield candidates
    if "weight_decay" in subject.settable:
        variants = _variants_of_each(candidates, _decay_variants) if is_near else candidates
        candidates = nearest_candidates(variants, [Trial.of(subject, DECAY)])
    yield candidates
    trials = [Trial.of(subject, DEFAULT), Trial.of(subject, TINY)]
    yield rank(nearest_candidates(candidates, trials))


def _stages(subject: BlackBox) -> Iterator[list[Candidate]]:
    """The candidates that the first stages add."""
    yield _moment_candidates()
    yield _limited_candidates()
    if {"beta1", "beta2"} <= subject.settable:
        yield _beta_readings()


def nearest_candidates(
    candidates: Iterable[Candidate], trials: list[Trial], worst: float = float("inf")
) -> list[Candidate]:
    """Candidates that fit the trials, and the MAX_CANDIDATES nearest within `worst`, best first."""
    nearest: list[Candidate] = []
    for candidate in candidates:
        limit = _limit(nearest, worst)
        errors = dict(candidate.errors)
        for trial in trials:
            errors[trial.setting.name] = trial.error(candidate, limit)
        measured = replace(candidate, errors=errors)
        if measured.error <= limit:
            insort(nearest, measured, key=lambda candidate: candidate.error)
            limit = _limit(nearest, worst)
            while len(nearest) > MAX_CANDIDATES and nearest[-1].error > min(limit, MAX_TIE_ERROR):
                nearest.pop()
    return nearest


def _limit(nearest: list[Candidate], worst: float) -> float:
    """The largest error that the next candidate may have."""
    if nearest and nearest[0].error <= FLOAT64_ERROR:
        return FLOAT32_ERROR  # if one fits, others that are only near are dropped
    if len(nearest) < MAX_CANDIDATES:
        return worst
    return max(1.001 * nearest[MAX_CANDIDATES - 1].error, FLOAT64_ERROR)


def rank(candidates: list[Candidate]) -> list[Candidate]:
    """Sort candidates, best first; of equal ones, the one with the fewest differences."""
    best = min(candidate.error for candidate in candidates)
    limit = max(100 * best, 1e-12) if best < FLOAT32_ERROR else best

    def key(candidate: Candidate) -> tuple[bool, float]:
        is_worse = candidate.error > limit
        return is_worse, candidate.error if is_worse else candidate.cost

    return sorted(candidates, key=key)


def _moment_candidates() -> list[Candidate]:
    """Every rule with every choice that has an effect without eps and decay, defaults first."""
    candidates = []
    for kind in ALL:
        choices = {name: some for name, some in kind.choices.items() if name not in LATER_CHOICES}
        for values, numbers in product(product(*choices.values()), PACKAGE_VALUES.get(kind, ({},))):
            dialect = {**dict(zip(choices, values, strict=True)), **numbers}
            candidates.append(Candidate(kind, dialect))
    return sorted(candidates, key=lambda candidate: candidate.cost)


def _limited_candidates() -> list[Candidate]:
    """Candidates with masks and clipping."""
    bases = [base for base in _moment_candidates() if "cautious" in base.kind.choices]
    masks, clips = ("off", "mean", "paper"), (float("inf"), 1.0)
    return [
        replace(base, dialect={**base.dialect, "cautious": mask, "clip": clip})
        for mask in masks
        for clip in clips
        for base in bases
    ]


def _beta_readings() -> list[Candidate]:
    """Candidates whose betas have another meaning."""
    readings = ("swapped", "complements")
    return [replace(base, betas=reading) for reading in readings for base in _moment_candidates()]


def _variants_of_each(candidates: list[Candidate], forms: Any) -> Iterator[Candidate]:
    for candidate in candidates:
        yield from forms(candidate)


def _eps_variants(candidate: Candidate) -> Iterator[Candidate]:
    """Variants with eps in every place."""
    names = [name for name in EPS_CHOICES if name in candidate.kind.choices]
    floors = EPS_ROOTS if "eps_root" in candidate.kind.ranges else ()
    for values in product(*(candidate.kind.choices[name] for name in names)):
        dialect = {**candidate.dialect, **dict(zip(names, values, strict=True))}
        yield from (replace(candidate, dialect={**dialect, "eps_root": floor}) for floor in floors)
        if not floors:
            yield replace(candidate, dialect=dialect)


def _decay_variants(candidate: Candidate) -> Iterator[Candidate]:
    """Variants with every kind of weight decay."""
    yield candidate
    for how in candidate.kind.choices.get("decay", ()):
        yield replace(candidate, dialect={**candidate.dialect, "decay": how})
    if "weight_decay" in candidate.kind.ranges:
        for around in (
            "after decoupled",
            "after independent",
            "before fixed",
            "after fixed",
            *WRONG_DECAYS,
        ):
            yield replace(candidate, decay=around)

"""Which published rule, in which dialect, an optimizer's paths are those of."""

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

SAME = 1e-9  # largest difference, of the way gone, that rounding in 64 bits explains
SINGLE = 1e-5  # the same in 32 bits
STAGES = 6
KEPT = 8  # candidates that go on to the next setting, and those as near as the last of them
HOPELESS = 0.5  # farther off, a rule is not near
FAR = 1e-3  # beyond it, being as near as another means nothing

OTHERS: dict[type[Rule], dict[str, str]] = {  # other words for a rule's numbers, best first
    Adafactor: {
        "eps1": "eps1 eps", "eps2": "eps2 eps_scale", "clip": "clip d clip_threshold clipping_threshold",
        "power": "power beta2_decay decay_rate",
    },
    Adagrad: {"initial_accumulator": "initial_accumulator initial_accumulator_value"},
    RMSprop: {"alpha": "alpha rho beta2"},
}  # fmt: skip
# shipped where a class has no such option
NUMBERS: dict[type[Rule], tuple[dict[str, float], ...]] = {
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
EPS_WORDS = ("eps_at", "eps_inside")
LATER = (*EPS_WORDS, "decay", "cautious", "clip")  # choices that are tried after the others
FLOORS = (0.0, 1e-15, 1e-16, 1e-12, 1e-8)  # eps_root: what libraries add inside the root unasked


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
    """A rule, its dialect, and the ways to be unlike every published one that are looked for."""

    kind: type[Rule]
    # the fields that are set, in words and numbers
    dialect: dict[str, Any] = field(default_factory=dict)
    betas: str = "as said"  # or "swapped", "complements" (1 - beta)
    # "", or of the decay taken around the rule's own step: before or after, and its rate
    decay: str = ""
    # by setting: largest difference, of the way gone
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The largest over all settings."""
        return max(self.errors.values(), default=0.0)

    @property
    def cost(self) -> int:
        """How much has to be said beyond the rule's name."""
        usual = {f.name: f.default for f in fields(self.kind)}
        said = sum(value != usual[name] for name, value in self.dialect.items())
        parted = usual.get("decay") == "l2" and bool(
            self.decay or self.dialect.get("decay", "l2") != "l2"
        )
        return said + parted + 2 * bool(self.decay) + 3 * (self.betas != "as said")

    @property
    def unlike(self) -> tuple[str, ...]:
        """In what it is unlike every published form."""
        return tuple(UNLIKE[way] for way in (self.betas, self.decay) if way in UNLIKE)

    def spelt(self) -> dict[str, Any]:
        """The dialect, where it is not the rule's default."""
        usual = {f.name: f.default for f in fields(self.kind)}
        return {name: value for name, value in self.dialect.items() if value != usual[name]}

    def rule(self, numbers: Mapping[str, float], peak_lr: float) -> Rule | None:
        """The rule with the numbers the class was given; None where they do not go together."""
        others = OTHERS.get(self.kind, {})
        numbers = _betas(numbers, self.betas)
        given = {"peak_lr": peak_lr or 1.0} if "peak_lr" in self.kind.ranges else {}
        for name in self.kind.ranges:
            words = [word for word in others.get(name, name).split() if word in numbers]
            given |= {name: abs(numbers[words[0]])} if words else {}
        try:
            return self.kind(**{**given, **self.dialect})
        except BadInput:
            return None


def _betas(numbers: Mapping[str, float], reading: str) -> dict[str, float]:
    found = {name: numbers[name] for name in BETAS if name in numbers}
    if reading == "swapped" and len(found) > 1:
        found |= {"beta1": found["beta2"], "beta2": found["beta1"]}
    if reading == "complements":
        found = {name: 1 - value for name, value in found.items()}
    return {**numbers, **found}


def match(subject: BlackBox) -> Iterator[list[Candidate]]:
    """The candidates left after each of at most STAGES stages, best first; the first of the last
    list is the answer.

    Args:
        subject: the class.
    """
    trials = [Trial.of(subject, PLAIN)]
    found: list[Candidate] = []
    for more in (
        (_moments(), _bounded(), _read())
        if {"beta1", "beta2"} <= subject.settable
        else (_moments(), _bounded())
    ):
        if not found or found[0].error > SINGLE:
            found = narrowed([*found, *more], trials, HOPELESS)
        yield found
    if not found:
        return
    near = found[0].error < FAR  # else no dialect makes it fit
    if "eps" in subject.settable:
        trials = [Trial.of(subject, LARGE_EPS), Trial.of(subject, SMALL)]
        found = narrowed(_each(found, _eps) if near else found, trials)
    yield found
    if "weight_decay" in subject.settable:
        found = narrowed(_each(found, _decays) if near else found, [Trial.of(subject, DECAY)])
    yield found
    found = narrowed(found, [Trial.of(subject, DEFAULT), Trial.of(subject, TINY)])
    yield ranked(found)


def narrowed(
    candidates: Iterable[Candidate], trials: list[Trial], worst: float = float("inf")
) -> list[Candidate]:
    """Those that agree with the trials, and the KEPT nearest ones no farther off than `worst`, best
    first.
    """
    kept: list[Candidate] = []
    for candidate in candidates:
        limit = _limit(kept, worst)
        errors = dict(candidate.errors)
        for trial in trials:
            errors[trial.setting.name] = trial.error(candidate, limit)
        tried = replace(candidate, errors=errors)
        if tried.error <= limit:
            insort(kept, tried, key=lambda one: one.error)
            limit = _limit(kept, worst)
            while len(kept) > KEPT and kept[-1].error > min(limit, FAR):
                kept.pop()
    return kept


def _limit(kept: list[Candidate], worst: float) -> float:
    """How far off the next candidate may be."""
    if kept and kept[0].error <= SAME:
        return SINGLE  # one fits: what is near without fitting is out
    return max(1.001 * kept[KEPT - 1].error, SAME) if len(kept) >= KEPT else worst


def ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Best first; of those that rounding cannot tell apart, the one that takes the fewest words."""
    best = min(one.error for one in candidates)
    same = max(100 * best, 1e-12) if best < SINGLE else best
    return sorted(
        candidates, key=lambda one: (one.error > same, one.cost if one.error <= same else one.error)
    )


def _moments() -> list[Candidate]:
    """Every rule with every choice that does not need eps or decay to show, defaults first."""
    found = []
    for kind in ALL:
        words = {name: some for name, some in kind.choices.items() if name not in LATER}
        for values, numbers in product(product(*words.values()), NUMBERS.get(kind, ({},))):
            found.append(Candidate(kind, {**dict(zip(words, values, strict=True)), **numbers}))
    return sorted(found, key=lambda one: one.cost)


def _bounded() -> list[Candidate]:
    """The same with masks and clipping."""
    able = [one for one in _moments() if "cautious" in one.kind.choices]
    ways = [
        {"cautious": mask, "clip": clip}
        for mask in ("off", "mean", "paper")
        for clip in (float("inf"), 1.0)
    ]
    return [replace(one, dialect={**one.dialect, **way}) for way in ways for one in able]


def _read() -> list[Candidate]:
    """The same with betas that mean something else."""
    return [
        replace(one, betas=reading) for reading in ("swapped", "complements") for one in _moments()
    ]


def _each(candidates: list[Candidate], forms: Any) -> Iterator[Candidate]:
    for candidate in candidates:
        yield from forms(candidate)


def _eps(candidate: Candidate) -> Iterator[Candidate]:
    """Where eps may sit."""
    names = [name for name in EPS_WORDS if name in candidate.kind.choices]
    floors = FLOORS if "eps_root" in candidate.kind.ranges else ()
    for values in product(*(candidate.kind.choices[name] for name in names)):
        dialect = {**candidate.dialect, **dict(zip(names, values, strict=True))}
        yield from (replace(candidate, dialect={**dialect, "eps_root": floor}) for floor in floors)
        if not floors:
            yield replace(candidate, dialect=dialect)


def _decays(candidate: Candidate) -> Iterator[Candidate]:
    """How decay may enter."""
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

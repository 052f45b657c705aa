"""A recommended value with its range, reason, formula, sources and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from betaplane.text import format_number

MEASURED = "measured here"
THEOREM = "theorem"
PUBLISHED = "published experiment"
HEURISTIC = "heuristic"
CONFIDENCE = (MEASURED, THEOREM, PUBLISHED, HEURISTIC)
DIGITS = 3  # significant digits of recommended values that are not betas
MAX_AGREEMENT_RATIO = 2.0  # of candidates, or memory horizons of betas, that agree


@dataclass(frozen=True)
class Recommendation:
    """The recommendation for one hyperparameter."""

    name: str
    value: float | str
    low: float | None  # ends of the range; None if there is none
    high: float | None
    reason: str  # one sentence
    formula: str
    sources: tuple[str, ...]  # names of entries of the evidence
    confidence: str  # one of CONFIDENCE

    @property
    def text(self) -> str:
        """The value as it is printed."""
        return self.value if isinstance(self.value, str) else _format(self.name, self.value)

    @property
    def range(self) -> str:
        """The range as it is printed."""
        if self.low is None or self.high is None:
            return ""
        return f"[{_format(self.name, self.low)}, {_format(self.name, self.high)}]"


@dataclass(frozen=True)
class Candidate:
    """The value that one source would set."""

    label: str
    value: float
    sources: tuple[str, ...]
    chosen: bool = False
    bound: bool = False  # a theorem's threshold for the worst problem: shown, not compared


@dataclass(frozen=True)
class Decision:
    """A recommendation, the candidates it was chosen from, and warnings."""

    row: Recommendation
    candidates: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = ()


def mark_chosen(candidates: Sequence[Candidate], value: float) -> tuple[Candidate, ...]:
    """The candidates with the chosen one marked; a value that no candidate has is added."""
    values = [candidate.value for candidate in candidates]
    if value not in values:
        return (Candidate("advised", value, (), chosen=True), *candidates)
    chosen = values.index(value)
    return tuple(replace(candidate, chosen=i == chosen) for i, candidate in enumerate(candidates))


def rounded(name: str, value: float) -> float:
    """The value rounded to the digits that are printed.

    Example:
        >>> rounded("lr", 1.0607e-4), rounded("beta2", 1 - 1.1e-6)
        (0.000106, 0.9999989)
    """
    number, _, gap = _format(name, value).partition(" - ")  # "1 - 1.1e-06"
    return float(number) - float(gap or 0)


def disagreement(name: str, candidates: Sequence[Candidate]) -> str:
    """One sentence on candidates that differ by more than a factor of 2; empty if they agree.

    Example:
        >>> one, two = Candidate("A", 0.95, (), chosen=True), Candidate("B", 0.999, ())
        >>> disagreement("beta2", [one, two])
        'Sources disagree on beta2: A 0.95 (taken), B 0.999.'
        >>> disagreement("lr", [Candidate("A", 1e-3, ()), Candidate("B", 1.5e-3, ())])
        ''
    """
    candidates = [candidate for candidate in candidates if not candidate.bound]
    values = [candidate.value for candidate in candidates]
    sizes = [1 / (1 - value) for value in values] if name.startswith("beta") else values
    if len(sizes) < 2 or max(sizes) <= MAX_AGREEMENT_RATIO * min(sizes):
        return ""
    texts = [
        f"{candidate.label} {_format(name, candidate.value)}{' (taken)' if candidate.chosen else ''}"
        for candidate in candidates
    ]
    return f"Sources disagree on {name}: {', '.join(texts)}."


def _format(name: str, value: float) -> str:
    return format_number(name, value, DIGITS)

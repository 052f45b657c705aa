"""What advice consists of: a value with its range, the reason, the formula, and who says so."""

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
# candidates that differ by more are told as a disagreement; betas by their memory horizons
APART = 2.0


@dataclass(frozen=True)
class Recommendation:
    """The advice on one hyperparameter."""

    name: str
    value: float | str
    low: float | None  # ends of the range; None where there is none
    high: float | None
    reason: str  # one sentence
    formula: str
    sources: tuple[str, ...]  # names of entries of the evidence
    confidence: str  # one of CONFIDENCE

    @property
    def text(self) -> str:
        """The value as it is written."""
        return self.value if isinstance(self.value, str) else _format(self.name, self.value)

    @property
    def range(self) -> str:
        """The range as it is written."""
        if self.low is None or self.high is None:
            return ""
        return f"[{_format(self.name, self.low)}, {_format(self.name, self.high)}]"


@dataclass(frozen=True)
class Candidate:
    """What one source would set."""

    label: str
    value: float
    sources: tuple[str, ...]
    chosen: bool = False
    bound: bool = False  # a theorem's threshold for the worst problem: shown, not compared


@dataclass(frozen=True)
class Decision:
    """A row, what every source would set, and what to be warned of."""

    row: Recommendation
    candidates: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = ()


def marked(found: Sequence[Candidate], value: float) -> tuple[Candidate, ...]:
    """The candidates, the one that was taken marked; one more in front where none was taken as it
    is.
    """
    at = next((i for i, one in enumerate(found) if one.value == value), None)
    if at is None:
        return (Candidate("advised", value, (), chosen=True), *found)
    return tuple(replace(one, chosen=i == at) for i, one in enumerate(found))


def rounded(name: str, value: float) -> float:
    """The value as it is written, as a number.

    Example:
        >>> rounded("lr", 1.0607e-4), rounded("beta2", 1 - 1.1e-6)
        (0.000106, 0.9999989)
    """
    whole, _, away = _format(name, value).partition(" - ")
    return float(whole) - float(away or 0)


def disagreement(name: str, candidates: Sequence[Candidate]) -> str:
    """One sentence on candidates that lie further apart than APART; empty where they agree.

    Example:
        >>> one, two = Candidate("A", 0.95, (), chosen=True), Candidate("B", 0.999, ())
        >>> disagreement("beta2", [one, two])
        'Sources disagree on beta2: A 0.95 (taken), B 0.999.'
        >>> disagreement("lr", [Candidate("A", 1e-3, ()), Candidate("B", 1.5e-3, ())])
        ''
    """
    candidates = [one for one in candidates if not one.bound]
    sizes = [1 / (1 - one.value) if name.startswith("beta") else one.value for one in candidates]
    if len(sizes) < 2 or max(sizes) <= APART * min(sizes):
        return ""
    told = [
        f"{one.label} {_format(name, one.value)}{' (taken)' if one.chosen else ''}"
        for one in candidates
    ]
    return f"Sources disagree on {name}: {', '.join(told)}."


def _format(name: str, value: float) -> str:
    return format_number(name, value, DIGITS)

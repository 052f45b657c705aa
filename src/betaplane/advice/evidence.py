"""The published numbers that advice rests on: who found them, in what setting, how far that was
checked.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from betaplane.errors import BadInput
from betaplane.theory import half_life

FILE = Path(__file__).with_name("evidence.toml")
UNITS = ("tokens", "samples")
VERIFIED = ("read", "second hand", "memory", "here")
APART = 2.0  # standard deviations to either side of the mean that a window takes in
LEAST = 0.2  # decades: no standard deviation is taken to be less, however few sources there are


@dataclass(frozen=True)
class Source:
    """Who said it."""

    authors: str
    year: int
    setting: str
    verified: str  # one of VERIFIED
    arxiv: str = ""

    def __str__(self) -> str:
        paper = f" {self.year}, arXiv:{self.arxiv}" if self.arxiv else ""
        return f"{self.authors}{paper or (f' {self.year}' if self.verified != 'here' else '')}"


@dataclass(frozen=True)
class Experiment:
    """A tuned setting: the beta2 that was best."""

    source: str
    setting: str
    unit: str  # one of UNITS
    batch: float  # units a step, > 0
    best: tuple[float, ...]  # in (0, 1)
    steps: int | None = None

    @property
    def half_life(self) -> float:
        """The half-life of v, in units; the geometric mean where several beta2 were best."""
        return math.exp(fmean(math.log(half_life(beta2, self.batch)) for beta2 in self.best))


@dataclass(frozen=True)
class Spread:
    """Half-lives that were best, in units: their geometric mean and what lies within APART
    deviations of it.
    """

    middle: float
    low: float
    high: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All of the evidence file."""

    sources: Mapping[str, Source]
    experiments: tuple[Experiment, ...]
    laws: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def without(self, *names: str) -> Evidence:
        """The evidence as if some sources had never reported an experiment."""
        kept = tuple(one for one in self.experiments if one.source not in names)
        return Evidence(self.sources, kept, self.laws)

    def half_lives(self, unit: str) -> Spread | None:
        """The half-lives of v that were best in experiments of a unit; every source weighs the
        same.

        Args:
            unit: "tokens" or "samples".

        Returns:
            Their spread, None where no experiment has that unit.

        Source: the experiments of the file.

        Example:
            >>> spread = evidence().half_lives("tokens")
            >>> [f"{tokens:.2g}" for tokens in (spread.low, spread.middle, spread.high)]
            ['3.3e+06', '1.7e+07', '8.9e+07']
        """
        found = _logs(one for one in self.experiments if one.unit == unit)
        if not found:
            return None
        middle = fmean(fmean(logs) for logs in found.values())
        square = fmean(fmean((one - middle) ** 2 for one in logs) for logs in found.values())
        away = APART * max(math.sqrt(square), LEAST)
        return Spread(10.0**middle, 10.0 ** (middle - away), 10.0 ** (middle + away), tuple(found))


@cache
def evidence(path: Path = FILE) -> Evidence:
    """The evidence of a file: the package's own, or yours in its form.

    Args:
        path: a TOML file with [sources], [[experiments]] and [laws].

    Returns:
        What it holds, checked.

    Raises:
        BadInput: the file is missing or no TOML, or an entry lacks a field, has a value out of range, or names a
            source there is not.

    Example:
        >>> print(evidence().sources["marek2025"])
        Marek et al. 2025, arXiv:2507.07101
    """
    held = _read(path)
    try:
        sources = {name: Source(**entry) for name, entry in held["sources"].items()}
        found = tuple(
            Experiment(**{**entry, "best": tuple(entry["best"])}) for entry in held["experiments"]
        )
        told = Evidence(sources, found, held["laws"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _refusal(path, f"An entry has the wrong fields ({error})") from error
    _check(told, path)
    return told


def _logs(experiments: Any) -> dict[str, list[float]]:
    """The logarithms of the half-lives, by source."""
    found: dict[str, list[float]] = {}
    for one in experiments:
        found.setdefault(one.source, []).append(math.log10(one.half_life))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refusal(path, f"The evidence cannot be read ({error})") from error


def _check(told: Evidence, path: Path) -> None:
    for name, source in told.sources.items():
        _one_of(source.verified, VERIFIED, path, f"source {name}: verified")
    for one in told.experiments:
        _one_of(one.source, told.sources, path, "experiment: source")
        _one_of(one.unit, UNITS, path, f"experiment of {one.source}: unit")
        if not (one.batch > 0 and one.best and all(0 < beta2 < 1 for beta2 in one.best)):
            raise _refusal(
                path, f"An experiment of {one.source} needs batch > 0 and every best in (0, 1)"
            )
    for name, law in told.laws.items():
        _one_of(law.get("source"), told.sources, path, f"law {name}: source")


def _one_of(value: Any, allowed: Collection[str], path: Path, what: str) -> None:
    if value not in allowed:
        raise BadInput(
            f"{what} is unknown",
            value=value,
            allowed=", ".join(allowed),
            where=str(path),
            instead=f'"{min(allowed)}"',
        )


def _refusal(path: Path, what: str) -> BadInput:
    return BadInput(
        what,
        value=str(path),
        allowed="a file in the form of betaplane/advice/evidence.toml",
        where="evidence",
    )

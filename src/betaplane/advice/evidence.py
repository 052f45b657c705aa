"""The published results that advice uses, with their settings and how far they were checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from betaplane.errors import BadInput, unknown
from betaplane.theory import half_life

FILE = Path(__file__).with_name("evidence.toml")
UNITS = ("tokens", "samples")
VERIFIED = ("read", "second hand", "memory", "here")
KINDS = ("optimum", "end", "search", "fixed")  # what the best beta2 of an experiment is
BEST = ("optimum", "search")  # kinds whose beta2 was better than others on both sides
WINDOW_DEVIATIONS = 2.0  # standard deviations from the mean to each end of a window
# width of the window of language models: the smallest that contains 90% of the optima of a source
# that the center was made without
TOKENS_WINDOW_DECADES = 1.1
MIN_DEVIATION_DECADES = 0.2  # smallest standard deviation, however few sources there are


@dataclass(frozen=True)
class Source:
    """A publication, or a measurement of the user."""

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
    """One tuned setting of a publication, and its best beta2."""

    source: str
    setting: str
    unit: str  # one of UNITS
    batch: float  # units per step, > 0
    best: tuple[float, ...]  # in (0, 1)
    steps: int | None = None
    kind: str = "optimum"  # one of KINDS

    @property
    def half_life(self) -> float:
        """The half-life of v, in units; the geometric mean if several beta2 were best."""
        return math.exp(fmean(math.log(half_life(beta2, self.batch)) for beta2 in self.best))


@dataclass(frozen=True)
class Spread:
    """The geometric mean of the best half-lives, in units, and a window around it."""

    middle: float
    low: float
    high: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """The contents of an evidence file."""

    sources: Mapping[str, Source]
    experiments: tuple[Experiment, ...]
    laws: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def without(self, *names: str) -> Evidence:
        """The evidence without the experiments of some sources."""
        others = tuple(e for e in self.experiments if e.source not in names)
        return Evidence(self.sources, others, self.laws)

    def half_lives(self, unit: str) -> Spread | None:
        """The best half-lives of v in the experiments of a unit; all sources have the same weight.

        Values that were held fixed are not used. An end of a sweep counts as it is, although the
        best value may lie beyond it: without it the center would be biased towards short sweeps.

        Args:
            unit: "tokens" or "samples".

        Returns:
            Their spread; None if no experiment has that unit.

        Source: the experiments of the file.

        Example:
            >>> spread = evidence().half_lives("tokens")
            >>> [f"{tokens:.2g}" for tokens in (spread.low, spread.middle, spread.high)]
            ['5.8e+06', '2e+07', '7.3e+07']
        """
        by_source = _logs(e for e in self.experiments if e.unit == unit and e.kind != "fixed")
        if not by_source:
            return None
        mean = fmean(fmean(logs) for logs in by_source.values())
        variance = fmean(fmean((log - mean) ** 2 for log in logs) for logs in by_source.values())
        width = WINDOW_DEVIATIONS * max(math.sqrt(variance), MIN_DEVIATION_DECADES)
        if unit == "tokens":
            width = TOKENS_WINDOW_DECADES / 2
        return Spread(10.0**mean, 10.0 ** (mean - width), 10.0 ** (mean + width), tuple(by_source))

    def shortest_half_life(self, unit: str) -> float | None:
        """The shortest half-life of v, in units, that was best in an experiment of a unit."""
        half_lives = (
            half_life(min(e.best), e.batch)
            for e in self.experiments
            if e.unit == unit and e.kind in BEST
        )
        return min(half_lives, default=None)


@cache
def evidence(path: Path = FILE) -> Evidence:
    """Read an evidence file: the package's own, or yours in the same form.

    Args:
        path: a TOML file with [sources], [[experiments]] and [laws].

    Returns:
        Its contents, checked.

    Raises:
        BadInput: the file is missing or is not TOML, or an entry lacks a field, has a value out of
            range, or names an unknown source.

    Example:
        >>> print(evidence().sources["marek2025"])
        Marek et al. 2025, arXiv:2507.07101
    """
    tables = _read(path)
    try:
        sources = {name: Source(**entry) for name, entry in tables["sources"].items()}
        experiments = tuple(
            Experiment(**{**entry, "best": tuple(entry["best"])}) for entry in tables["experiments"]
        )
        contents = Evidence(sources, experiments, tables["laws"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _invalid(path, f"An entry has the wrong fields ({error})") from error
    _check(contents, path)
    return contents


def _logs(experiments: Any) -> dict[str, list[float]]:
    """The logarithms of the half-lives, by source."""
    by_source: dict[str, list[float]] = {}
    for experiment in experiments:
        by_source.setdefault(experiment.source, []).append(math.log10(experiment.half_life))
    return by_source


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid(path, f"The evidence cannot be read ({error})") from error


def _check(contents: Evidence, path: Path) -> None:
    for name, source in contents.sources.items():
        _check_name(source.verified, VERIFIED, path, f"value of verified in source {name}:")
    for e in contents.experiments:
        _check_name(e.source, contents.sources, path, "source in an experiment:")
        _check_name(e.kind, KINDS, path, f"kind in an experiment of {e.source}:")
        _check_name(e.unit, UNITS, path, f"unit in an experiment of {e.source}:")
        if not (e.batch > 0 and e.best and all(0 < beta2 < 1 for beta2 in e.best)):
            raise _invalid(
                path, f"An experiment of {e.source} needs batch > 0 and every best in (0, 1)"
            )
    for name, law in contents.laws.items():
        _check_name(law.get("source"), contents.sources, path, f"source in law {name}:")


def _check_name(value: Any, known: Collection[str], path: Path, what: str) -> None:
    if value not in known:
        raise unknown(what, value, known, where=str(path), instead='"{}"')


def _invalid(path: Path, what: str) -> BadInput:
    return BadInput(
        what,
        value=str(path),
        allowed="a file in the form of betaplane/advice/evidence.toml",
        where="evidence",
    )

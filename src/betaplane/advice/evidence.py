"""The published results that advice uses, with their settings and how far they were checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from betaplane.advice.half_lives import LOSS_NOISE, Observation, Spread, deviation_of, spread
from betaplane.errors import BadInput, unknown
from betaplane.theory import half_life

FILE = Path(__file__).with_name("evidence.toml")
UNITS = ("tokens", "samples")
MODELS = ("dense", "experts")
VERIFIED = ("read", "second hand", "memory", "here")
KINDS = ("optimum", "end", "search", "fixed")  # what the best beta2 of an experiment is
BEST = ("optimum", "search")  # kinds whose beta2 was better than others on both sides
UNKNOWN_DEVIATION = 0.3  # decades, error of a best beta2 without a grid: the step of most grids


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
    best: tuple[float, ...] = ()  # in (0, 1); from the grid if there is one
    steps: int | None = None
    kind: str = "optimum"  # one of KINDS; from the grid if there is one
    next: float | None = None  # of an end without a grid: the beta2 before it
    betas: tuple[float, ...] = ()  # grid of beta2, increasing
    losses: tuple[float, ...] = ()  # the loss at each of betas
    noise: float = LOSS_NOISE  # deviation of a loss over seeds, >= 0
    model: str = "dense"  # one of MODELS

    @property
    def half_life(self) -> float:
        """The half-life of v, in units; the geometric mean if several beta2 were best."""
        return 10.0 ** fmean(self._log_half_life(beta2) for beta2 in self.best)

    @property
    def observation(self) -> Observation:
        """The evidence of the experiment about the best half-life, in decades."""
        value = math.log10(self.half_life)
        if self.kind == "end":
            nearest = min if self.next is None or self.next < min(self.best) else max
            end, before = (self._log_half_life(b) for b in (nearest(self.best), self.next or 0.5))
            return Observation(self.source, (end + before) / 2, side=1 if end > before else -1)
        return Observation(self.source, value, self._deviation())

    def _deviation(self) -> float:
        if not self.losses:
            return UNKNOWN_DEVIATION
        i = self.losses.index(min(self.losses))
        step = self._log_half_life(self.betas[i + 1]) - self._log_half_life(self.betas[i - 1])
        rise = (self.losses[i - 1] + self.losses[i + 1]) / 2 - self.losses[i]
        return deviation_of(step / 2, max(rise, self.noise / 10), self.noise)

    def _log_half_life(self, beta2: float) -> float:
        return math.log10(half_life(beta2, self.batch))


@dataclass(frozen=True)
class LrSweep:
    """The best learning rate at several batch sizes."""

    source: str
    setting: str
    batch: tuple[float, ...]  # tokens per step, > 0
    lr: tuple[float, ...]  # > 0
    params: float | None = None
    tokens: float | None = None
    model: str = "dense"  # one of MODELS


@dataclass(frozen=True)
class Evidence:
    """The contents of an evidence file."""

    sources: Mapping[str, Source]
    experiments: tuple[Experiment, ...]
    laws: Mapping[str, Mapping[str, Any]] = field(repr=False)
    lr_sweeps: tuple[LrSweep, ...] = field(default=(), repr=False)

    def without(self, *names: str) -> Evidence:
        """The evidence without the experiments and sweeps of some sources."""
        experiments = tuple(e for e in self.experiments if e.source not in names)
        sweeps = tuple(sweep for sweep in self.lr_sweeps if sweep.source not in names)
        return Evidence(self.sources, experiments, self.laws, sweeps)

    def half_lives(self, unit: str) -> Spread | None:
        """The best half-lives of v in the experiments with dense models of a unit.

        Values that were held fixed are not used. All sources have the same weight. For tokens the
        recipes of large language models are a weak prior of the center.

        Args:
            unit: "tokens" or "samples".

        Returns:
            Their spread; None if no experiment has that unit.

        Source: the experiments of the file, and the likelihood of `half_lives.py`.

        Example:
            >>> spread = evidence().half_lives("tokens")
            >>> [f"{tokens:.2g}" for tokens in (spread.low, spread.point, spread.high)]
            ['6e+06', '2.8e+07', '7.6e+07']
        """
        used = tuple(
            e.observation
            for e in self.experiments
            if e.unit == unit and e.model == "dense" and e.kind != "fixed"
        )
        recipes = self.laws.get("half_life_recipes") if unit == "tokens" else None
        prior = (math.log10(recipes["tokens"]), recipes["decades"]) if recipes else None
        return spread(used, prior) if used else None

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
        experiments = tuple(_experiment(entry) for entry in tables["experiments"])
        sweeps = tuple(LrSweep(**_tuples(entry)) for entry in tables.get("lr_sweeps", ()))
        contents = Evidence(sources, experiments, tables["laws"], sweeps)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _invalid(path, f"An entry has the wrong fields ({error})") from error
    _check(contents, path)
    return contents


def _experiment(entry: Mapping[str, Any]) -> Experiment:
    """The experiment of an entry; the best value of a grid is its lowest loss."""
    one = Experiment(**_tuples(entry))
    if not one.losses:
        return one
    pairs = sorted(zip(one.betas, one.losses, strict=True))
    betas, losses = (tuple(column) for column in zip(*pairs, strict=True))
    i = losses.index(min(losses))
    last = i in (0, len(losses) - 1)
    found = {"best": (betas[i],), "kind": "end" if last else "optimum"}
    before = betas[1 if i == 0 else i - 1] if last else None
    return replace(one, **found, next=before, betas=betas, losses=losses)


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid(path, f"The evidence cannot be read ({error})") from error


def _check(contents: Evidence, path: Path) -> None:
    for name, source in contents.sources.items():
        _check_name(source.verified, VERIFIED, path, f"value of verified in source {name}:")
    for e in contents.experiments:
        _check_experiment(e, contents.sources, path)
    for sweep in contents.lr_sweeps:
        _check_name(sweep.source, contents.sources, path, "source in a sweep of lr:")
        _check_name(sweep.model, MODELS, path, f"model in a sweep of lr of {sweep.source}:")
        if len(sweep.batch) != len(sweep.lr) or not all(v > 0 for v in sweep.batch + sweep.lr):
            raise _invalid(
                path, f"A sweep of lr of {sweep.source} needs one positive lr per positive batch"
            )
    for name, law in contents.laws.items():
        _check_name(law.get("source"), contents.sources, path, f"source in law {name}:")


def _check_experiment(e: Experiment, sources: Collection[str], path: Path) -> None:
    _check_name(e.source, sources, path, "source in an experiment:")
    _check_name(e.kind, KINDS, path, f"kind in an experiment of {e.source}:")
    _check_name(e.unit, UNITS, path, f"unit in an experiment of {e.source}:")
    _check_name(e.model, MODELS, path, f"model in an experiment of {e.source}:")
    betas = e.best + e.betas + (() if e.next is None else (e.next,))
    if not (e.batch > 0 and e.best and all(0 < beta2 < 1 for beta2 in betas)):
        raise _invalid(
            path, f"An experiment of {e.source} needs batch > 0 and every best in (0, 1)"
        )
    if e.kind == "end" and e.next is None:
        raise _invalid(path, f"An end of a sweep of {e.source} needs next, the beta2 before it")


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

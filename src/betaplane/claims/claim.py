"""A claim of the literature: a sentence, its source, an experiment and a rule that judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from betaplane.claims.checks import Check

if TYPE_CHECKING:
    from betaplane.claims.lab import Lab


@dataclass(frozen=True)
class Source:
    """A paper, or the page of a blog, and the place in it."""

    authors: str
    year: int
    arxiv: str = ""  # "1412.6980", or another address if it is not on arXiv
    place: str = ""  # "Section 2.1", "Theorem 2"

    def __str__(self) -> str:
        address = self.arxiv if "/" in self.arxiv or "." not in self.arxiv else self.address
        return ", ".join(
            part for part in (self.authors, str(self.year), address, self.place) if part
        )

    @property
    def address(self) -> str:
        """The arXiv id with its prefix, or ""."""
        return f"arXiv:{self.arxiv}" if self.arxiv else ""


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Args:
        name: the name on the command line, such as "first-step".
        title: a title of a few words.
        statement: the claim in one sentence.
        sources: who claims it.
        checks: the rule of the verdict, which is written before the numbers are measured. Checks
            with a condition (`when`) judge the claim at that condition only.
        measure: measure(lab) trains, computes and draws; see `Lab`.
        setting: how the experiment differs from the source's, in a sentence or two.
        seeds: runs per setting; 1 if nothing is random.
        sizes: the sizes at which it is measured, if it depends on one; `--size` selects others.
        size_name: what a size is, such as "losses n".
        size_checks: size_checks(size) -> further checks, for each size that is measured.
        slow: whether it takes more than two minutes; `run all` skips it unless it is requested.
    """

    name: str
    title: str
    statement: str
    sources: tuple[Source, ...]
    checks: tuple[Check, ...]
    measure: Callable[[Lab], None]
    setting: str = ""
    seeds: int = 5
    sizes: tuple[float, ...] = ()
    size_name: str = "size"
    size_checks: Callable[[float], tuple[Check, ...]] | None = None
    slow: bool = False

    def rule(self, sizes: Sequence[float] = ()) -> tuple[Check, ...]:
        """The rule of the verdict at some sizes, by default the claim's own."""
        if self.size_checks is None:
            return self.checks
        of_sizes = (self.size_checks(size) for size in sizes or self.sizes)
        return (*self.checks, *chain.from_iterable(of_sizes))

    @property
    def command(self) -> str:
        """The line that reproduces it."""
        return f"betaplane claims run {self.name}"

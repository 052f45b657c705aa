"""What the experiment of a claim works with: training, tuning, measured quantities, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from betaplane.claims.claim import Claim
from betaplane.claims.figure import Panel, Table
from betaplane.claims.follow import Moment, follow
from betaplane.claims.measured import Measured
from betaplane.claims.tuning import Tuned, final_loss, tune
from betaplane.problems import Problem
from betaplane.replicas import Options, Outcome, Run, chunk_size, train_stacked
from betaplane.rules._rule import Rule

Alter = Callable[[Rule], Rule]
WHOLE = Options(early_stop=False, independent="paired")


def unaltered(rule: Rule) -> Rule:
    """The rule itself."""
    return rule


class Lab:
    """Collects what a claim measures, and trains for it.

    Args:
        claim: the claim.
        sizes: the sizes to measure at; by default the claim's own.
        alter: replaces every rule before it is used; tests put a wrong optimizer in this way.
        report: report(text) is called as the experiment proceeds.
    """

    def __init__(
        self,
        claim: Claim,
        sizes: Sequence[float] = (),
        alter: Alter = unaltered,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.claim, self.sizes = claim, tuple(sizes) or claim.sizes
        self.alter, self.report = alter, report
        self.measured: dict[str, Measured] = {}
        self.panels: list[Panel] = []
        self.tables: list[Table] = []

    @property
    def seeds(self) -> range:
        """The seeds of the measurement; tuning takes others."""
        return range(self.claim.seeds)

    def rule(self, rule: Rule) -> Rule:
        """The rule, altered if a test asks for it; for experiments that step a rule by hand."""
        return self.alter(rule)

    def train(
        self, problem: Problem, runs: Iterable[Run], options: Options = WHOLE
    ) -> list[Outcome]:
        """Train runs, those of one rule and batch size side by side; outcomes in the same order.

        Every run has the initialization and the minibatches of its own seed.
        """
        runs = [replace(run, rule=self.alter(run.rule)) for run in runs]
        outcomes: list[Outcome | None] = [None] * len(runs)
        for done, (key, places) in enumerate(_stacks(runs).items()):
            self.report(f"{problem.name}: {key[0]}, stack {done + 1}")
            most = chunk_size(problem, "stacked")
            for first in range(0, len(places), most):
                chunk = places[first : first + most]
                trained = train_stacked(problem, [runs[i] for i in chunk], options)
                for place, outcome in zip(chunk, trained, strict=True):
                    outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def follow(
        self, problem: Problem, run: Run, look: Callable[[Moment], None], options: Options = WHOLE
    ) -> Outcome:
        """Train one run and call look(moment) after each step."""
        return follow(problem, replace(run, rule=self.alter(run.rule)), look, options)

    def finals(
        self, problem: Problem, rule: Rule, lr: float | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """The final loss of a rule for every seed of the claim, (seeds,); see `final_loss`."""
        lr = problem.lr if lr is None else lr
        batch = problem.batch_size if batch_size is None else batch_size
        runs = [Run(rule, lr, batch, seed) for seed in self.seeds]
        return np.array([final_loss(outcome) for outcome in self.train(problem, runs)])

    def tune(
        self,
        problem: Problem,
        contenders: Mapping[str, Rule],
        lrs: Mapping[str, Sequence[float]] | Sequence[float],
        batch_size: int | None = None,
    ) -> Tuned:
        """The best learning rate of each contender on seeds of their own; see `tuning.tune`."""
        tuned = tune(self, problem, contenders, lrs, batch_size)
        self.tables.append(tuned.table(problem.name))
        return tuned

    def measure(
        self,
        name: str,
        values: float | Iterable[float],
        unit: str = "",
        published: float | None = None,
        note: str = "",
    ) -> None:
        """Record a quantity: one exact value, or one value per seed."""
        numbers = np.atleast_1d(
            np.asarray(values if isinstance(values, (int, float)) else [*values], dtype=float)
        )
        self.measured[name] = Measured(tuple(numbers.tolist()), unit, published, note)

    def draw(self, panel: Panel) -> None:
        """Add a figure to the report."""
        self.panels.append(panel)

    def tabulate(self, table: Table) -> None:
        """Add a table to the report."""
        self.tables.append(table)


def _stacks(runs: Sequence[Run]) -> dict[tuple, list[int]]:
    """The places of the runs that can be trained side by side."""
    stacks: dict[tuple, list[int]] = {}
    for place, run in enumerate(runs):
        fixed = tuple(
            (name, value)
            for name, value in run.rule.options().items()
            if not isinstance(value, float)
        )
        own = tuple(name for name, _ in run.own)
        key = (type(run.rule).__name__, fixed, run.batch_size, run.variant, run.steps, own)
        stacks.setdefault(key, []).append(place)
    return stacks

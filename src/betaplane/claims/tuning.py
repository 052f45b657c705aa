"""Tune the learning rates of all contenders of a claim alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betaplane.claims.figure import Table
from betaplane.problems import Problem
from betaplane.replicas import Outcome, Run
from betaplane.rules._rule import Rule

if TYPE_CHECKING:
    from betaplane.claims.lab import Lab

SEEDS = (1001, 1002, 1003)  # of tuning, none of which is measured
MAX_EXTENSIONS = 4  # of a grid whose best point is its first or last one


@dataclass(frozen=True)
class Tuned:
    """Mean final losses by contender and learning rate."""

    losses: Mapping[str, Mapping[float, float]]  # by contender, by learning rate

    def lr(self, contender: str) -> float:
        """The learning rate with the smallest mean final loss."""
        losses = self.losses[contender]
        return min(losses, key=lambda lr: losses[lr])

    def table(self, problem: str) -> Table:
        """What was tried, for the report."""
        rows = [
            (
                name,
                f"{self.lr(name):.3g}",
                f"{losses[self.lr(name)]:.4g}",
                len(losses) * len(SEEDS),
                ", ".join(f"{lr:.2g}" for lr in sorted(losses)),
            )
            for name, losses in self.losses.items()
        ]
        columns = ("contender", "best lr", "mean final loss", "runs", "learning rates tried")
        return Table(f"Tuning on {problem}, seeds {SEEDS[0]} to {SEEDS[-1]}", columns, rows)


def final_loss(outcome: Outcome) -> float:
    """The final loss; a run that diverged counts as one that did not train."""
    return min(outcome.final, outcome.initial)


def tune(
    lab: Lab,
    problem: Problem,
    contenders: Mapping[str, Rule],
    lrs: Mapping[str, Sequence[float]] | Sequence[float],
    batch_size: int | None = None,
) -> Tuned:
    """Train every contender at every learning rate, on three seeds that are not measured.

    If the best learning rate is at an end of the grid, the grid is extended there by its own
    spacing, at most four times; so every contender gets a grid with its optimum inside.

    Args:
        lab: trains.
        problem: the problem.
        contenders: rules by label.
        lrs: the grid, in increasing order; one for all, or one per contender.
        batch_size: examples per step; by default the problem's.
    """
    batch = problem.batch_size if batch_size is None else batch_size
    losses: dict[str, dict[float, float]] = {}
    for name, rule in contenders.items():
        grid = [*(lrs[name] if isinstance(lrs, Mapping) else lrs)]
        losses[name], spacing = {}, grid[1] / grid[0]
        for _ in range(MAX_EXTENSIONS + 1):
            losses[name] |= _mean_finals(lab, problem, rule, grid, batch)
            best, tried = Tuned(losses).lr(name), sorted(losses[name])
            if best not in (tried[0], tried[-1]):
                break
            grid = [best / spacing if best == tried[0] else best * spacing]
    return Tuned(losses)


def _mean_finals(
    lab: Lab, problem: Problem, rule: Rule, grid: Sequence[float], batch: int
) -> dict[float, float]:
    runs = [Run(rule, lr, batch, seed) for lr in grid for seed in SEEDS]
    finals = np.array([final_loss(outcome) for outcome in lab.train(problem, runs)])
    means = finals.reshape(len(grid), len(SEEDS)).mean(axis=1)
    return dict(zip(grid, means.tolist(), strict=True))

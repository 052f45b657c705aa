"""Assemble a PhaseMap from the records of its runs: score scale, verdicts, marks, recommendation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.maps.decision import Decision
from betaplane.maps.engine import Choice
from betaplane.maps.phase_map import Cell, Mark, PhaseMap, Spot
from betaplane.maps.plan import Plan, common_settings
from betaplane.maps.recommend import recommend, with_decision
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.votes import beside_change
from betaplane.maps.store.run_record import Record
from betaplane.maps.verdicts import judge, known_curves, mark, score, verdict
from betaplane.problems import Problem, Trainer

MAX_FITTED_CELLS = 400  # of each kind; fitting takes the cube of their number

Records = Mapping[Spot, list[Record]]


class ScoreScale:
    """The losses that score 1 (before training) and 0 (the best, by batch size and seed).

    Runs with the same seed have the same initialization and minibatches, and are compared with each
    other: scored against the best loss of all seeds, one lucky seed would leave no setting good.

    The noise of a small batch keeps every setting from the loss that a large batch reaches in as
    many steps. Scored against that loss, no beta2 would be good. So each batch size is scored
    against the best loss that was reached with it.

    Args:
        plan: gives the batch size of each cell.
        records: the finished runs, at least one.
        known_best: the problem's lowest possible loss; None if it is unknown.

    Raises:
        BadInput: no run was finished.
    """

    def __init__(self, plan: Plan, records: Records, known_best: float | None) -> None:
        self._plan = plan
        by_size = [(self._batch_size(s), r) for s, runs in records.items() for r in runs]
        if not by_size:
            raise BadInput(
                "No run was finished", value=0, allowed="at least 1", instead='budget="20m"'
            )
        self.initial = float(np.median([record.initial for _, record in by_size]))
        start = self.initial if known_best is None else known_best
        self.best = {(size, record.seed): start for size, record in by_size}
        if known_best is None:
            for size, record in by_size:
                final = record.final if np.isfinite(record.final) else self.initial
                key = size, record.seed
                self.best[key] = min(self.best[key], final)
            self._bound_partial_seeds()

    def _bound_partial_seeds(self) -> None:
        """Seeds beyond the plan's ran near changes of verdict only, not at the best cells: their
        best is at most the mean best of the others.
        """
        for size in {size for size, _ in self.best}:
            whole = [
                b for (s, seed), b in self.best.items() if s == size and seed < self._plan.seeds
            ]
            for key in [k for k in self.best if k[0] == size and k[1] >= self._plan.seeds]:
                self.best[key] = min(self.best[key], float(np.mean(whole or [self.best[key]])))

    def score(self, spot: Spot, record: Record) -> float:
        """The score of a run of a cell."""
        best = self.best[self._batch_size(spot), record.seed]
        return score(record.final, self.initial, best)

    def _batch_size(self, spot: Spot) -> float:
        return self._plan.settings(spot)["batch_size"]


def seed_verdicts(plan: Plan, records: Records, known_best: float | None) -> dict[Spot, list[int]]:
    """The verdict of each run, by cell, in the order of the seeds."""
    scale = ScoreScale(plan, records, known_best)

    def verdict_of(spot: Spot, record: Record) -> int:
        return verdict(scale.score(spot, record), plan.thresholds)

    return {spot: [verdict_of(spot, r) for r in runs] for spot, runs in records.items()}


def assemble_map(
    problem: Problem | Trainer,
    plan: Plan,
    records: Records,
    settings: Mapping[str, float] | None,
    facts: Mapping[str, str],
    decision: Decision | None = None,
) -> PhaseMap:
    """The map of the finished runs.

    Args:
        problem: what was trained.
        plan: axes, fixed hyperparameters, thresholds.
        records: the finished runs, at least one.
        settings: the user's own setting to mark, by hyperparameter name.
        facts: how the map was made.
        decision: the comparison with the default over learning rates; None if it was not made.

    Raises:
        BadInput: no run was finished.
    """
    scale = ScoreScale(plan, records, problem.best)
    cells = judged_cells(plan, records, problem.best)
    verdicts, p_fails = _judged_grid(plan, cells, seed_verdicts(plan, records, problem.best))
    recommendation = recommend(plan.x, plan.y, cells, verdicts)
    if decision is not None:
        recommendation = with_decision(decision, plan.x, plan.y, verdicts, plan.fixed)
    return PhaseMap(
        problem=problem.name,
        rule=type(plan.rule).__name__,
        x=plan.x,
        y=plan.y,
        fixed=plan.fixed,
        cells=cells,
        verdicts=verdicts,
        p_fail=p_fails,
        initial=scale.initial,
        best=min(scale.best.values()),
        thresholds=plan.thresholds,
        steps=plan.steps,
        trainings=sum(len(runs) for runs in records.values()),
        marks=tuple(_marks(plan, settings, verdicts)),
        curves=known_curves(plan.x, plan.y, getattr(problem, "boundary", None)),
        recommendation=recommendation,
        facts=facts,
    )


def judged_cells(plan: Plan, records: Records, known_best: float | None) -> dict[Spot, Cell]:
    """The trained cells with their verdicts; see `ScoreScale` for the arguments."""
    scale = ScoreScale(plan, records, known_best)
    return {
        spot: judge(
            plan.settings(spot),
            [record.final for record in runs],
            [record.curve for record in runs],
            [scale.score(spot, record) for record in runs],
            plan.thresholds,
        )
        for spot, runs in sorted(records.items())
    }


def _judged_grid(
    plan: Plan, cells: Mapping[Spot, Cell], votes: Mapping[Spot, list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Verdict and P(fail) of every cell of the grid.

    With a limited number of runs, the trained cells are sparse and their noise matters, so a
    probabilistic surface judges. Otherwise refinement has enclosed every boundary, and each trained
    cell keeps its verdict.
    """
    if plan.trainings is not None:
        return fill_by_surface(plan.shape, votes)
    verdicts = fill(plan.shape, {spot: cell.verdict for spot, cell in cells.items()})
    return verdicts, fill_by_surface(plan.shape, informative_cells(votes, verdicts))[1]


def informative_cells(
    votes: Mapping[Spot, list[int]], verdicts: np.ndarray, limit: int = MAX_FITTED_CELLS
) -> dict[Spot, list[int]]:
    """The cells that determine a surface: those near a change of verdict, and an even selection of
    the others.

    Deep inside a region, one cell carries the same information as its neighbors.

    Args:
        votes: verdicts of the seeds of each trained cell.
        verdicts: (nx, ny), verdict of every cell of the grid.
        limit: largest number of cells of each of the two kinds.
    """
    change = beside_change(verdicts)
    near = [spot for spot in votes if change[spot]]
    far = [spot for spot in votes if not change[spot]]
    selected = [*_every_nth(near, limit), *_every_nth(far, limit)]
    return {spot: votes[spot] for spot in selected}


def _every_nth(spots: list[Spot], limit: int) -> list[Spot]:
    """At most `limit` of the cells, evenly spaced."""
    return spots[:: max(1, -(-len(spots) // limit))]


def _marks(
    plan: Plan, settings: Mapping[str, float] | None, verdicts: np.ndarray
) -> Iterator[Mark]:
    marked = common_settings(plan.fixed)
    if settings:
        marked["yours"] = {**plan.fixed, **settings}
    for label, values in marked.items():
        found = mark(label, values, plan.x, plan.y, verdicts)
        if found is not None:
            yield found


def map_facts(
    problem: Problem | Trainer, plan: Plan, choice: Choice, damaged: int, ended: str
) -> dict[str, str]:
    """How a map was made, as labels and text.

    Args:
        problem: what was trained.
        plan: what the map trained.
        choice: the engine and what it rests on.
        damaged: runs in the store that were damaged and trained again.
        ended: why the map ended.
    """
    facts = {"ended": ended}
    if "batch_size" in (plan.x.name, plan.y.name) and problem.best is None:
        facts["best loss, each batch size"] = "the lowest loss reached with it scores 0"
    facts["engine"] = choice.engine
    if choice.why_plain:
        facts["why plain"] = f"not stacked, because {choice.why_plain}"
    facts["device"] = plan.options.device
    facts["seeds"] = (
        f"{plan.seeds}; {plan.boundary_seeds} next to a change of verdict, twice as many if they disagree"
    )
    own_order = plan.options.independent
    facts["minibatches"] = "each run its own" if own_order else "the same for all runs of a seed"
    facts["subnormal numbers"] = "flushed to zero"
    if damaged:
        facts["damaged runs"] = f"{damaged} in the store, trained again"
    facts["torch"] = torch.__version__
    return facts

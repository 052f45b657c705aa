"""The scale on which losses become scores: which loss scores 1, and which scores 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.phase_map import Spot
from betaplane.maps.plan import Plan
from betaplane.maps.store.run_record import Record
from betaplane.maps.verdicts import log_score, median_of_finite, score, verdict
from betaplane.problems import Problem, Trainer
from betaplane.problems.family import variant
from betaplane.replicas.judge import known_best

Records = Mapping[Spot, list[Record]]
KnownBest = float | None | Callable[[Spot], float | None]  # for all cells, or of each
Group = tuple[float, ...]  # see `Plan.group`


def known_bests(problem: Problem | Trainer, plan: Plan) -> KnownBest:
    """The lowest possible value of what is judged, or that of the problem's variant in each cell."""
    best_of_problem = known_best(problem.best, plan.options.judge)
    if (
        not isinstance(problem, Problem)
        or not plan.problem_options
        or plan.options.judge == "gradient-norm"
    ):
        return best_of_problem
    bests: dict[tuple, float | None] = {}

    def best(spot: Spot) -> float | None:
        options = plan.run(spot, 0).variant
        if options not in bests:
            bests[options] = variant(problem, dict(options)).best
        return bests[options]

    return best


class ScoreScale:
    """The losses that score 1 (before training) and 0 (the best, by group and seed).

    Runs with the same seed have the same initialization and minibatches, and are compared with each
    other: scored against the best loss of all seeds, one lucky seed would leave no setting good.

    The noise of a small batch keeps every setting from the loss that a large batch reaches in as
    many steps. Scored against that loss, no beta2 would be good. So each batch size is scored
    against the best loss that was reached with it, and each variant of the problem against its own.

    Args:
        plan: gives the group of each cell.
        records: the finished runs, at least one.
        known_best: the problem's lowest possible loss; None if it is unknown.

    Raises:
        BadInput: no run was finished.
    """

    def __init__(self, plan: Plan, records: Records, known_best: KnownBest) -> None:
        self._plan = plan
        runs = [(spot, record) for spot, of_cell in records.items() for record in of_cell]
        if not runs:
            raise BadInput(
                "No run was finished", value=0, allowed="at least 1", instead='budget="20m"'
            )
        self.initial = median_of_finite(record.initial for _, record in runs)
        self._initials = {
            group: median_of_finite(r.initial for s, r in runs if plan.group(s) == group)
            for group in {plan.group(spot) for spot, _ in runs}
        }
        self.lowest: dict[tuple[Group, int], float] = {}
        for spot, record in runs:
            self._include(plan.group(spot), record)
        self._bound_partial_seeds()
        best_of = known_best if callable(known_best) else lambda _: known_best
        self.best = dict(self.lowest)
        for spot, record in runs:
            known = best_of(spot)
            if known is not None:
                self.best[plan.group(spot), record.seed] = known

    def _include(self, group: Group, record: Record) -> None:
        initial = self.initial_of(group)
        final = record.final if np.isfinite(record.final) else initial
        key = group, record.seed
        self.lowest[key] = min(self.lowest.get(key, initial), final)

    def initial_of(self, group: Group) -> float:
        """The loss that scores 1 in a group."""
        return self._initials[group] if self._plan.problem_options else self.initial

    def _bound_partial_seeds(self) -> None:
        """Seeds beyond the plan's ran near changes of verdict only, not at the best cells: their
        best is at most the mean best of the others.
        """
        for group in self._initials:
            whole = [
                b for (g, seed), b in self.lowest.items() if g == group and seed < self._plan.seeds
            ]
            for key in [k for k in self.lowest if k[0] == group and k[1] >= self._plan.seeds]:
                self.lowest[key] = min(
                    self.lowest[key], float(np.mean(whole or [self.lowest[key]]))
                )

    def score(self, spot: Spot, record: Record) -> float:
        """The score of a run of a cell."""
        group = self._plan.group(spot)
        initial, best = self.initial_of(group), self.best[group, record.seed]
        if self._plan.score == "log":
            return log_score(record.final, initial, best, self.lowest[group, record.seed])
        return score(record.final, initial, best)


def seed_verdicts(plan: Plan, records: Records, known_best: KnownBest) -> dict[Spot, list[int]]:
    """The verdict of each run, by cell, in the order of the seeds."""
    scale = ScoreScale(plan, records, known_best)

    def verdict_of(spot: Spot, record: Record) -> int:
        return verdict(scale.score(spot, record), plan.thresholds)

    return {spot: [verdict_of(spot, r) for r in runs] for spot, runs in records.items()}

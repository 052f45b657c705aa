"""Assemble a PhaseMap from the records of its runs: verdicts, curves, marks, recommendation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from betaplane.maps.decision import Decision
from betaplane.maps.engine import Choice
from betaplane.maps.known_curves import curves_of
from betaplane.maps.phase_map import Cell, Mark, PhaseMap, Spot
from betaplane.maps.plan import Plan, common_settings
from betaplane.maps.recommend import recommend, with_decision
from betaplane.maps.sampling.infer import fill, fill_by_surface
from betaplane.maps.sampling.votes import beside_change
from betaplane.maps.score_scale import (
    KnownBest,
    Records,
    ScoreScale,
    known_bests,
    seed_verdicts,
)
from betaplane.maps.verdicts import judge, mark
from betaplane.problems import Problem, Trainer
from betaplane.replicas.judge import NAMES as JUDGE_NAMES
from betaplane.text import plural

MAX_FITTED_CELLS = 400  # of each kind; fitting takes the cube of their number


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
    known = known_bests(problem, plan)
    scale = ScoreScale(plan, records, known)
    cells = judged_cells(plan, records, known)
    verdicts, p_fails = _judged_grid(plan, cells, seed_verdicts(plan, records, known))
    # an option of the problem cannot be recommended
    recommendation = None if plan.problem_options else recommend(plan.x, plan.y, cells, verdicts)
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
        judge=plan.options.judge,
        score=plan.score,
        steps=plan.steps,
        trainings=sum(len(runs) for runs in records.values()),
        marks=tuple(_marks(plan, settings, verdicts)),
        curves=curves_of(problem, plan),
        recommendation=recommendation,
        facts=facts,
    )


def judged_cells(plan: Plan, records: Records, known_best: KnownBest) -> dict[Spot, Cell]:
    """The trained cells with their verdicts; see `ScoreScale` for the arguments."""
    scale = ScoreScale(plan, records, known_best)
    return {
        spot: judge(
            plan.settings(spot),
            [record.final for record in runs],
            [record.curve for record in runs],
            [scale.score(spot, record) for record in runs],
            plan.thresholds,
            [record.held_out for record in runs],
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
    problem: Problem | Trainer,
    plan: Plan,
    choice: Choice,
    damaged: int,
    ended: str,
    failures: Sequence[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """How a map was made, as labels and text.

    Args:
        problem: what was trained.
        plan: what the map trained.
        choice: the engine and what it rests on.
        damaged: runs in the store that were damaged and trained again.
        ended: why the map ended.
        failures: how commands failed.
    """
    facts = {"ended": ended}
    if "batch_size" in (plan.x.name, plan.y.name) and problem.best is None:
        facts["best loss, each batch size"] = "the lowest loss reached with it scores 0"
    if plan.problem_options:
        facts["problem"] = f"{', '.join(plan.problem_options)}: each value scored by itself"
    if plan.examples is not None:
        facts["length of a run"] = f"{plan.examples:,} examples, at every batch size"
    if plan.options.judge != "loss":
        facts["judged by"] = JUDGE_NAMES[plan.options.judge]
    if plan.score == "log":
        facts["score"] = "on a log scale: 0 for most decades gained, 1 for none"
    facts["engine"] = choice.engine
    if choice.why_plain:
        facts["why plain"] = f"not stacked, because {choice.why_plain}"
    facts["device"] = plan.options.device
    facts["seeds"] = _seeds_text(plan)
    own_order = plan.options.independent
    facts["minibatches"] = "each run its own" if own_order else "the same for all runs of a seed"
    facts["subnormal numbers"] = "flushed to zero"
    command = problem.command if isinstance(problem, Trainer) else None
    if command is not None and not command.uses("seed"):
        facts["unseeded"] = (
            "the command never mentions {seed}: its runs differ by chance, if at all"
        )
    if failures:
        facts["failed commands"] = _failures(failures)
    if damaged:
        facts["damaged runs"] = f"{damaged} in the store, trained again"
    facts["torch"] = torch.__version__
    return facts


def _seeds_text(plan: Plan) -> str:
    if plan.one_seed:
        return "1; runs do not depend on the seed"
    near = f"{plan.boundary_seeds} next to a change of verdict"
    return f"{plan.seeds}; {near}, twice as many if they disagree"


def _failures(failures: Sequence[Mapping[str, Any]]) -> str:
    """How many commands failed, for which reasons, and the last line of the stderr of one."""
    reasons = Counter(failure["reason"] for failure in failures)
    counts = ", ".join(f"{reason}: {plural(count, 'run')}" for reason, count in reasons.items())
    lines = [line for failure in failures for line in failure["stderr"][-1:]]
    return f"{counts} counted as diverged" + (
        f"; the last line of stderr: {lines[-1]}" if lines else ""
    )

"""Map a problem: choose cells, train them, judge them, and put what was seen together."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.maps.engine import choose_engine
from betaplane.maps.phase_map import Cell, PhaseMap, Spot
from betaplane.maps.plan import Along, Plan, common_settings, plan_for
from betaplane.maps.progress import shown_progress
from betaplane.maps.sampling.ask_tell import (
    Chooser,
    Dense,
    Refine,
    beside_change,
    fill,
    fill_by_surface,
)
from betaplane.maps.scheduler import OutOfTime, Progress, RunScheduler, Task
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.maps.validation import check_resources, marked_setting
from betaplane.maps.verdicts import judge, known_curves, mark, recommend, score, verdict
from betaplane.problems import Problem, Trainer, check, fingerprint
from betaplane.problems.check import call_user_code
from betaplane.problems.source import as_problem
from betaplane.replicas import Pool, Source, Speeds, chunk_size

ROUNDS = 5  # in which a refined map of usual size is chosen


@dataclass(frozen=True)
class Estimate:
    """What a map is expected to cost, told before it starts."""

    engine: str
    speeds: Speeds | None  # None where nothing was measured
    trainings: int  # expected
    seconds: float  # expected; nan where unknown
    stored: int  # trainings the store already holds


def map_phases(
    source: Source,
    x: Along = "beta1",
    y: Along = "beta2",
    points: int = 24,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    settings: Mapping[str, float] | None = None,
    progress: bool | None = None,
    **how: Any,
) -> PhaseMap:
    """Train a problem over the plane of two hyperparameters and return the map of where training
    converges.

    Args:
        source: a Problem, a Trainer, a function train(settings, seed) -> losses, or a reference `load` takes ("digits",
            "file.py:name").
        x: what varies along: a name (beta1, beta2, lr, eps, batch_size, weight_decay), (name, low,
            high), or an Axis.
        y: what varies upwards, likewise.
        points: cells along each axis that is not an Axis.
        store: file that keeps every finished training; the same call continues from it. None: a
            temporary one.
        workers: worker processes; None is one a core, 0 trains in this process.
        settings: a setting of your own to mark on the map, by hyperparameter name.
        progress: whether to show how far it is; by default in terminals and notebooks, after two
            seconds.
        how: what `plan_for` takes: rule ("adamw"), lr, batch_size, steps, seeds, boundary_seeds, dense, trainings,
            budget ("20m"), beta1, beta2, ...

    Raises:
        BadInput: the problem cannot be trained, or the store is another problem's.

    Example:
        >>> from betaplane.problems import counterexample
        >>> phase_map = map_phases(counterexample(n=5), points=6, steps=1000, seeds=1, workers=0)
        >>> [phase_map.word(beta1=0.0, beta2=beta2) for beta2 in (0.0, 0.9999)]
        ['failing', 'good']
    """
    check_resources(store, workers)
    problem = as_problem(source)
    plan = plan_for(problem, x, y, points, **how)
    own = None if settings is None else marked_setting(settings)
    with shown_progress("trainings", progress) as bar:
        return follow(problem, plan, store=store, workers=workers, settings=own, watch=bar.watch)


def follow(
    source: Source,
    plan: Plan,
    *,
    store: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    workers: int | None = None,
    settings: Mapping[str, float] | None = None,
    begin: Callable[[Estimate], None] = lambda _: None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> PhaseMap:
    """`map_phases` with the plan made and somebody watching.

    Args:
        source: as `map_phases`.
        plan: axes, what is held fixed, seeds, budget.
        store: as `map_phases`.
        changes: fields of the problem to replace after loading (order, schedule, ...).
        workers: as `map_phases`.
        settings: as `map_phases`.
        begin: told the estimate before training starts.
        watch: told the progress after every finished chunk.
    """
    began = time.monotonic()
    problem = as_problem(source)
    changes = {**(changes or {}), "steps": plan.steps} if isinstance(problem, Problem) else {}
    if isinstance(problem, Problem):
        problem = problem.with_(**changes)
        check(problem)
    with ExitStack() as held:
        if temporary := store is None:
            store = (
                Path(held.enter_context(tempfile.TemporaryDirectory(prefix="betaplane-")))
                / "map.sqlite"
            )
        pool = Pool(problem, workers=workers, leftovers=[Path(store).parent] if temporary else [])
        kept = held.enter_context(store_of(problem, store))
        held.enter_context(pool)  # ends before the store gives up its claims
        mapper = Mapper(problem, plan, pool, kept, began)
        begin(mapper.estimate())
        return mapper.run(watch, settings)


def store_of(problem: Problem | Trainer, path: str | Path) -> Store:
    """The store of a problem, opened or created."""
    identity = call_user_code(
        f"Telling {problem.name!r} from other problems failed", lambda: fingerprint(problem)
    )
    return Store.open(
        path, identity, problem.name, former=lambda: fingerprint(problem, former=True)
    )


def telling(
    votes: Mapping[Spot, list[int]], verdicts: np.ndarray, most: int = 400
) -> dict[Spot, list[int]]:
    """The spots a surface needs: those near a change of verdict and an even selection of the
    others.

    Fitting costs the cube of their number, and deep inside a region one spot says what its neighbours say.
    """
    change = beside_change(verdicts)
    near = [spot for spot in votes if change[spot]]
    far = [spot for spot in votes if not change[spot]]
    every = [kept[:: -(-len(kept) // most)] for kept in (near, far) if kept]
    return {spot: votes[spot] for kept in every for spot in kept}


class Mapper:
    """One map under way."""

    def __init__(
        self, problem: Problem | Trainer, plan: Plan, pool: Pool, store: Store, began: float
    ) -> None:
        self.problem, self.plan, self.pool, self.store, self.began = (
            problem,
            plan,
            pool,
            store,
            began,
        )
        middle, cells = (plan.shape[0] // 2, plan.shape[1] - 1), plan.shape[0] * plan.shape[1]
        self.choice = choose_engine(problem, plan, pool, plan.run(middle, 0), cells, store.meta)
        self.engine, self.speeds = self.choice.engine, self.choice.speeds
        self.records: dict[Spot, list[Record]] = {}

    def _chunk(self) -> int:
        """Runs trained together: fewer where the time allowed is short, since a chunk that is begun
        is finished.
        """
        most = chunk_size(self.problem, self.engine, self.plan.options.compile)
        if self.plan.seconds is None or self.speeds is None:
            return most
        rate = max(self.speeds.stacked, self.speeds.plain)
        return max(1, min(most, int(rate * self.plan.seconds / (4 * self.plan.steps))))

    def estimate(self) -> Estimate:
        """What is to come: a dense map trains every cell, a refined one a third or so, in some
        rounds.

        A stack takes as long as one run at least, and no stack has runs of two seeds or batch sizes.
        """
        plan = self.plan
        cells = plan.shape[0] * plan.shape[1]
        trainings = round(cells * plan.seeds * (1.0 if plan.dense else 0.45))
        trainings = min(trainings, plan.trainings or trainings)
        seconds = float("nan")
        if self.speeds is not None:
            seconds = trainings * plan.steps / max(self.speeds.stacked, self.speeds.plain)
            if self.engine == "stacked" and self.speeds.plain:
                sizes = [len(ax) for ax in (plan.x, plan.y) if ax.name == "batch_size"]
                stacks = (plan.seeds if plan.dense else ROUNDS * plan.boundary_seeds) * math.prod(
                    sizes
                )
                seconds += stacks * plan.steps / self.speeds.plain
            seconds /= max(1, self.pool.workers)
        return Estimate(self.engine, self.speeds, trainings, seconds, len(self.store))

    def run(
        self, watch: Callable[[Progress], None], settings: Mapping[str, float] | None
    ) -> PhaseMap:
        """Train until the chooser asks for nothing more, or the time is spent."""
        crew = RunScheduler(
            self.plan, self.pool, self.store, self.engine, self._chunk(), watch, self.began
        )
        chooser, plan = self._chooser(), self.plan
        ended = "every cell judged"
        try:
            while asked := chooser.ask():
                tasks = [
                    Task(self.plan.key(spot, s), spot, s)
                    for spot, seeds in asked
                    for s in range(seeds)
                ]
                found = crew.finished(tasks)
                for spot, seeds in asked:
                    self.records[spot] = [found[self.plan.key(spot, s)] for s in range(seeds)]
                chooser.tell(self._votes())
            if plan.trainings and len(crew.known) >= plan.trainings:
                ended = "trainings spent"
        except OutOfTime:
            ended = "time spent"
            self._gather(asked)
        return self._map(settings, ended)

    def _chooser(self) -> Chooser:
        plan = self.plan
        if plan.dense:
            return Dense(plan.shape, seeds=plan.seeds)
        most = max(plan.seeds, plan.boundary_seeds)
        return Refine(plan.shape, seeds=plan.seeds, boundary_seeds=most, budget=plan.trainings)

    def _gather(self, asked: Sequence) -> None:
        """Take what is finished of a batch that was cut short."""
        for spot, seeds in asked:
            keys = [self.plan.key(spot, s) for s in range(seeds)]
            found = self.store.load(keys)
            if found:
                self.records[spot] = [found[key] for key in keys if key in found]

    def _scale(self) -> tuple[float, dict[float, float]]:
        """The losses that score 1 (where training began) and 0 (the best, by batch size).

        A small batch's noise keeps every setting from the loss a large one reaches in as many steps; held against
        that, no beta2 would be good. So each batch size is measured by the best that was reached with it.
        """
        every = [
            (self._batch(spot), record)
            for spot, records in self.records.items()
            for record in records
        ]
        if not every:
            raise BadInput(
                "No run was finished", value=0, allowed="at least 1", instead='budget="20m"'
            )
        initial = float(np.median([record.initial for _, record in every]))
        known = self.problem.best
        best = {batch: initial if known is None else known for batch, _ in every}
        if known is None:
            for batch, record in every:
                best[batch] = min(
                    best[batch], record.final if np.isfinite(record.final) else initial
                )
        return initial, best

    def _batch(self, spot: Spot) -> float:
        return self.plan.settings(spot)["batch_size"]

    def _votes(self) -> dict[Spot, list[int]]:
        initial, best = self._scale()
        limits = self.plan.thresholds
        return {
            spot: [
                verdict(score(record.final, initial, best[self._batch(spot)]), limits)
                for record in records
            ]
            for spot, records in self.records.items()
        }

    def _map(self, settings: Mapping[str, float] | None, ended: str) -> PhaseMap:
        plan = self.plan
        initial, best = self._scale()
        cells = {
            spot: judge(
                plan.settings(spot),
                [r.final for r in records],
                [r.curve for r in records],
                initial,
                best[self._batch(spot)],
                plan.thresholds,
            )
            for spot, records in sorted(self.records.items())
        }
        verdicts, p_fails = self._judged(cells)
        marks = [
            mark(label, at, plan.x, plan.y, verdicts)
            for label, at in common_settings(plan.fixed).items()
        ]
        marks += (
            [mark("yours", {**plan.fixed, **settings}, plan.x, plan.y, verdicts)]
            if settings
            else []
        )
        return PhaseMap(
            problem=self.problem.name, rule=type(plan.rule).__name__, x=plan.x, y=plan.y, fixed=plan.fixed,
            cells=cells, verdicts=verdicts, p_fail=p_fails, initial=initial, best=min(best.values()),
            thresholds=plan.thresholds, steps=plan.steps,
            trainings=sum(len(records) for records in self.records.values()),
            marks=tuple(one for one in marks if one is not None),
            curves=known_curves(plan.x, plan.y, getattr(self.problem, "boundary", None)),
            recommendation=recommend(plan.x, plan.y, cells, verdicts), facts=self._facts(ended),
        )  # fmt: skip

    def _judged(self, cells: Mapping[Spot, Cell]) -> tuple[np.ndarray, np.ndarray]:
        """Verdict and P(fail) of every cell of the grid.

        Within a budget the trained cells are thin and their noise matters: a probabilistic surface judges. Without
        one, refinement has enclosed every boundary, and each trained cell is taken at its word.
        """
        votes = self._votes()
        if self.plan.trainings is not None:
            return fill_by_surface(self.plan.shape, votes)
        verdicts = fill(self.plan.shape, {spot: cell.verdict for spot, cell in cells.items()})
        return verdicts, fill_by_surface(self.plan.shape, telling(votes, verdicts))[1]

    def _facts(self, ended: str) -> dict[str, str]:
        sizes = "batch_size" in (self.plan.x.name, self.plan.y.name) and self.problem.best is None
        return {
            "ended": ended,
            **(
                {"best loss, each batch size": "the lowest reached with it scores 0"}
                if sizes
                else {}
            ),
            "engine": self.engine,
            **(
                {"why plain": f"not stacked, because {self.choice.why_plain}"}
                if self.choice.why_plain
                else {}
            ),
            "device": self.plan.options.device,
            "seeds": f"{self.plan.seeds}, {self.plan.boundary_seeds} beside a change of verdict",
            "minibatches": "each run its own"
            if self.plan.options.independent
            else "the same for all runs of a seed",
            "subnormal numbers": "flushed to zero",
            **(
                {"damaged runs": f"{self.store.damaged} in the store, trained again"}
                if self.store.damaged
                else {}
            ),
            "torch": torch.__version__,
        }

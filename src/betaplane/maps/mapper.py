"""Map a problem: choose cells, train them, judge them, and assemble the map."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from betaplane.executors import Backend, Executor, Gpus, backend_of
from betaplane.maps.assemble import assemble_map, judged_cells, map_facts
from betaplane.maps.decision import Decision
from betaplane.maps.engine import choose_engine, ignores_seed
from betaplane.maps.estimate import Estimate, affordable_chunk
from betaplane.maps.ignored import ignored_text
from betaplane.maps.imported_cells import imported_cells
from betaplane.maps.lr_search import LearningRateSearch
from betaplane.maps.phase_map import PhaseMap, Spot
from betaplane.maps.plan import Plan, default_values, plan_for
from betaplane.maps.plan_axes import Along
from betaplane.maps.progress import shown_progress
from betaplane.maps.recommend import candidates
from betaplane.maps.requested import chooser_of, searches_lr
from betaplane.maps.resources import check_device, opened, reported
from betaplane.maps.rounds import expected_rounds
from betaplane.maps.sampling.ask_tell import Chooser, Refine, Request
from betaplane.maps.scheduler import OutOfTime, Progress, RunScheduler
from betaplane.maps.score_scale import known_bests, seed_verdicts
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.maps.tasks import Task
from betaplane.maps.trials import Trials
from betaplane.maps.validation import check_resources, marked_setting
from betaplane.problems import Problem, Trainer, check
from betaplane.problems.source import Source, as_problem
from betaplane.replicas import chunk_size

ALL_JUDGED, RUNS_SPENT, TIME_SPENT = "every cell judged", "trainings spent", "time spent"


def map_phases(
    source: Source,
    x: Along = "beta1",
    y: Along = "beta2",
    points: int = 24,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    executor: str | Backend | None = None,
    gpus: Gpus = None,
    per_gpu: int = 1,
    settings: Mapping[str, float] | None = None,
    progress: bool | None = None,
    **how: Any,
) -> PhaseMap:
    """Train a problem over the plane of two hyperparameters and return the map of where training
    converges.

    Args:
        source: a Problem, a Trainer, a function train(settings, seed) -> losses, or a reference
            that `load` accepts ("digits", "file.py:name").
        x: the horizontal axis: a name (beta1, beta2, lr, eps, batch_size, weight_decay, one of
            these for a parameter group, "embedding.beta2", or an option of a built-in problem),
            (name, low, high), (name, low, high, "linear"), or an Axis.
        y: the vertical axis, in the same form.
        points: cells along each axis that is not an Axis.
        store: file that keeps every finished run; the same call resumes from it. None: a temporary
            file.
        workers: worker processes. None: one per core; 0: train in this process.
        executor: where the runs execute, if not in worker processes of this machine: "ray",
            "ray:ADDRESS", "dask:ADDRESS", "slurm:partition=gpu", or an object of
            `betaplane.executors`; see `backend_of`.
        gpus: GPUs of this machine, such as "0,1" or [0, 1]: each run sees one of them.
        per_gpu: runs at once on each GPU.
        settings: your own setting to mark on the map, by hyperparameter name.
        progress: whether to show the progress; by default in terminals and notebooks, after two
            seconds.
        how: arguments of `plan_for`: rule ("adamw"), scale ("linear"), judge ("regret"),
            score ("log"), lr, batch_size, steps, seeds, boundary_seeds,
            dense, trainings, budget ("20m"), beta1, beta2, ...

    Raises:
        BadInput: the problem cannot be trained, or the store contains another problem.

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
    with shown_progress("runs", progress) as bar:
        return run_plan(
            problem,
            plan,
            store=store,
            workers=workers,
            executor=executor,
            gpus=gpus,
            per_gpu=per_gpu,
            settings=own,
            watch=bar.watch,
        )


def run_plan(
    source: Source,
    plan: Plan,
    *,
    store: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    workers: int | None = None,
    executor: str | Backend | None = None,
    gpus: Gpus = None,
    per_gpu: int = 1,
    settings: Mapping[str, float] | None = None,
    begin: Callable[[Estimate], None] = lambda _: None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> PhaseMap:
    """`map_phases` for a prepared Plan, with progress callbacks.

    Args:
        source: as in `map_phases`.
        plan: axes, fixed hyperparameters, seeds, budget.
        store: as in `map_phases`.
        changes: fields of the problem to replace after loading (order, schedule, ...).
        workers: as in `map_phases`.
        executor: as in `map_phases`.
        gpus: as in `map_phases`.
        per_gpu: as in `map_phases`.
        settings: as in `map_phases`.
        begin: called with the estimate before training starts.
        watch: called with the progress after every finished chunk.
    """
    began = time.monotonic()
    problem = as_problem(source)
    if isinstance(problem, Problem):
        problem = problem.with_(**{**(changes or {}), "steps": plan.steps})
        check(problem)
    else:
        problem = problem.with_steps(plan.steps)
    backend = backend_of(executor, workers, gpus, per_gpu)
    check_device(problem, plan.options.device, backend)
    with opened(problem, store, backend) as (execution, runs, report):
        mapper = Mapper(problem, plan, execution, runs, began)
        begin(mapper.estimate())
        return mapper.run(reported(report, watch), settings)


class Mapper:
    """One map in progress."""

    def __init__(
        self,
        problem: Problem | Trainer,
        plan: Plan,
        executor: Executor,
        store: Store,
        began: float,
    ) -> None:
        self.problem = problem
        self.plan = plan
        self.executor = executor
        self.store = store
        self.began = began
        cells = plan.shape[0] * plan.shape[1]
        probed = plan.run((plan.shape[0] // 2, plan.shape[1] - 1), 0)
        self.choice = choose_engine(problem, plan, executor, probed, cells, store.meta)
        if ignores_seed(self.choice, plan, executor, probed, store.meta):
            self.plan = plan = plan.with_one_seed()
        self.known_best = known_bests(problem, plan)
        self.records: dict[Spot, list[Record]] = {}
        self.imported = imported_cells(store, plan)

    def estimate(self) -> Estimate:
        """The engine and the expected number of runs."""
        searches = searches_lr(self.problem, self.plan)
        rounds = expected_rounds(self.plan, chooser_of(self.plan), self._chunk(), searches)
        runs = sum(map(sum, rounds))
        return Estimate(self.choice.engine, self.choice.speeds, runs, len(self.store))

    def run(
        self, watch: Callable[[Progress], None], settings: Mapping[str, float] | None
    ) -> PhaseMap:
        """Train until the chooser requests nothing more, or the time is spent."""
        plan = self.plan
        scheduler, chooser = self._scheduler(watch), self._chooser()
        ended = ALL_JUDGED
        try:
            while requests := chooser.ask():
                self._train(scheduler, requests)
                chooser.tell(seed_verdicts(plan, self.records, self.known_best))
            self._decide_verdicts(scheduler)
            if plan.trainings and len(scheduler.known) >= plan.trainings:
                ended = RUNS_SPENT
        except OutOfTime:
            ended = TIME_SPENT
            self._load_finished(scheduler, requests)
        failures = scheduler.failures() if self.choice.engine == "command" else []
        facts = map_facts(self.problem, plan, self.choice, self.store.damaged, ended, failures)
        decision = self._decision(scheduler)
        if decision is not None:
            low, high = decision.lrs
            facts["learning rates"] = f"{low:g} to {high:g} tried for the recommendation"
        names = list(dict.fromkeys((plan.x.name, plan.y.name, "lr")))
        if text := ignored_text(self.problem, scheduler.known.values(), names):
            facts["settings without effect"] = text
        return assemble_map(self.problem, plan, self.records, settings, facts, decision)

    def _decide_verdicts(self, scheduler: RunScheduler) -> None:
        """Train undecided cells with as many seeds again."""
        plan = self.plan
        if plan.trainings is None and plan.seeds > 1:
            cells = judged_cells(plan, self.records, self.known_best)
            undecided = [spot for spot, cell in cells.items() if not cell.decided]
            seeds = 2 * max(plan.seeds, plan.boundary_seeds)
            self._train(scheduler, [Request(spot, seeds) for spot in undecided])

    def _decision(self, scheduler: RunScheduler) -> Decision | None:
        """The comparison of learning rates and the default; None if it does not apply, or its runs
        do not fit into the limits.
        """
        plan = self.plan
        if not searches_lr(self.problem, plan):
            return None
        cells = judged_cells(plan, self.records, self.known_best)
        search = LearningRateSearch(Trials(plan, scheduler), default_values(plan), plan.lr)
        try:
            return search.run(candidates(plan.x, plan.y, cells))
        except OutOfTime:
            return None

    def _scheduler(self, watch: Callable[[Progress], None]) -> RunScheduler:
        engine, chunk = self.choice.engine, self._chunk()
        return RunScheduler(self.plan, self.executor, self.store, engine, chunk, watch, self.began)

    def _chunk(self) -> int:
        """The number of runs that are trained together."""
        largest = chunk_size(self.problem, self.choice.engine, self.plan.options.compile)
        return affordable_chunk(self.plan, self.choice.speeds, largest)

    def _chooser(self) -> Chooser:
        chooser = chooser_of(self.plan, sum(map(len, self.imported.values())))
        if isinstance(chooser, Refine) and chooser.budget is not None and self.imported:
            self._continue_from_imports(chooser)
        return chooser

    def _continue_from_imports(self, chooser: Refine) -> None:
        """Take imported runs in place of the start grid, if they show a change of verdict."""
        votes = seed_verdicts(self.plan, self.imported, self.known_best)
        if len({vote for of_cell in votes.values() for vote in of_cell}) > 1:
            self.records |= self.imported
            chooser.asked |= {spot: len(records) for spot, records in self.imported.items()}
            chooser.tell(votes)

    def _train(self, scheduler: RunScheduler, requests: Sequence[Request]) -> None:
        tasks = {spot: self._tasks(spot, seeds) for spot, seeds in sorted(requests)}
        records = scheduler.finished([task for group in tasks.values() for task in group])
        for spot, group in tasks.items():
            self.records[spot] = self._imported(spot) + [records[task.key] for task in group]

    def _imported(self, spot: Spot) -> list[Record]:
        return self.imported.get(spot, [])

    def _load_finished(self, scheduler: RunScheduler, requests: Sequence[Request]) -> None:
        """Take the finished runs of a batch that the time limit interrupted."""
        for spot, seeds in requests:
            keys = [task.key for task in self._tasks(spot, seeds)]
            if stored := scheduler.stored(keys):
                trained = [stored[key] for key in keys if key in stored]
                self.records[spot] = self._imported(spot) + trained

    def _tasks(self, spot: Spot, seeds: int) -> list[Task]:
        """The runs of a cell, one per seed; imported ones count as the first."""
        left = max(0, seeds - len(self._imported(spot)))
        runs = [self.plan.run(spot, seed) for seed in range(left)]
        return [Task(self.plan.key(run), run) for run in runs]

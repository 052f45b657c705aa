"""What a map will cost, before it is trained: runs, operations, memory, and time on any number of
workers.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as OutOfPatience
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np

from betaplane.errors import BadInput
from betaplane.executors import Executor, Local, WorkerLost, check_losses
from betaplane.maps.engine import choose_engine, ignores_seed
from betaplane.maps.estimate import affordable_chunk
from betaplane.maps.plan import Plan
from betaplane.maps.requested import chooser_of, searches_lr
from betaplane.maps.rounds import Rounds, expected_rounds
from betaplane.maps.store.store import Store
from betaplane.problems import Problem, Trainer, check
from betaplane.replicas import Run, chunk_size
from betaplane.replicas.timing import CHUNK_SECONDS, Usage, chunk_time, usage
from betaplane.replicas.worker import train

SMALL_CHUNK = 3  # runs; the shorter of the two chunks that are timed
RUN_PATIENCE = 60.0  # seconds after which a run of a function or a command is not timed any more


@dataclass(frozen=True)
class ChunkSeconds:
    """The time of a chunk by its number of runs, on one worker here."""

    base: float
    per_run: float

    def __call__(self, runs: int) -> float:
        """Seconds of so many runs that are trained together."""
        return self.base + self.per_run * runs


@dataclass(frozen=True)
class MapCost:
    """What a map will cost."""

    engine: str
    why_plain: str
    steps: int  # per run; 1 if the length of a run is not known
    chunk: int  # the largest number of runs that are trained together
    rounds: Rounds  # sizes of the chunks
    stored: int  # runs that are already in the store
    seconds_of: ChunkSeconds | None  # None if unknown
    is_extrapolated: bool  # the time of a run is extrapolated from fewer steps
    setup: float  # seconds before the first run here
    usage: Usage
    workers: int  # here

    @property
    def runs(self) -> int:
        """The expected number of runs."""
        return sum(map(sum, self.rounds))

    @property
    def seconds_here(self) -> float:
        """The expected time on this machine; nan if unknown."""
        return self.setup + self.seconds_on(max(1, self.workers))

    def seconds_on(self, workers: int, speed: float = 1.0) -> float:
        """The expected time of training elsewhere; nan if unknown.

        A round ends when its slowest worker has finished.

        Args:
            workers: number of workers.
            speed: of one worker, relative to one here.
        """
        if self.seconds_of is None:
            return math.nan
        return sum(_makespan(sizes, self.seconds_of, workers) for sizes in self.rounds) / speed

    def worker_seconds(self, speed: float = 1.0) -> float:
        """The time that all workers together train; nan if unknown."""
        if self.seconds_of is None:
            return math.nan
        return sum(self.seconds_of(size) for sizes in self.rounds for size in sizes) / speed

    @property
    def flops(self) -> int | None:
        """The floating-point operations of all runs; None if unknown."""
        step = self.usage.step_flops
        return None if step is None else step * self.steps * self.runs


def map_cost(
    problem: Problem | Trainer,
    plan: Plan,
    *,
    workers: int | None = None,
    store: str | Path | None = None,
    run_seconds: float | None = None,
) -> MapCost:
    """Estimate what a map will cost from a short probe. Nothing is written.

    Args:
        problem: what is trained.
        plan: axes, seeds, steps.
        workers: worker processes here, as in `map_phases`.
        store: the file whose runs the map would reuse.
        run_seconds: the time of one run, if it is known; then no run is timed.

    Raises:
        BadInput: the problem cannot be trained.

    Example:
        >>> from betaplane.maps import plan_for
        >>> from betaplane.problems import counterexample
        >>> problem = counterexample(n=5, steps=1000)
        >>> cost = map_cost(problem, plan_for(problem, points=6, seeds=1), workers=0)
        >>> cost.engine, cost.seconds_on(1000) < cost.seconds_here
        ('stacked', True)
    """
    if run_seconds is not None and not 0 < run_seconds < math.inf:
        raise BadInput(
            "run_seconds is out of range",
            value=run_seconds,
            allowed="(0, inf)",
            where="run_seconds",
            instead="run_seconds=60",
        )
    began = time.perf_counter()
    problem = _with_steps(problem, plan)
    with Local(workers).start(problem) as executor:
        probe = _Probe(problem, plan, executor)
        plan = probe.plan
        setup = time.perf_counter() - began
        rounds = expected_rounds(plan, chooser_of(plan), probe.chunk, searches_lr(problem, plan))
        seconds_of = _known(run_seconds, probe.engine) or probe.seconds_of(rounds)
        return MapCost(
            engine=probe.engine,
            why_plain=probe.choice.why_plain,
            steps=plan.steps,
            chunk=probe.chunk,
            rounds=rounds,
            stored=_stored(store),
            seconds_of=seconds_of,
            is_extrapolated=probe.is_extrapolated,
            setup=setup + probe.first,
            usage=probe.usage(),
            workers=executor.slots,
        )


def _with_steps(problem: Problem | Trainer, plan: Plan) -> Problem | Trainer:
    if isinstance(problem, Trainer):
        return problem.with_steps(plan.steps)
    problem = problem.with_(steps=plan.steps)
    check(problem)
    return problem


def _known(run_seconds: float | None, engine: str) -> ChunkSeconds | None:
    return None if run_seconds is None else ChunkSeconds(0.0, run_seconds)


def _stored(store: str | Path | None) -> int:
    if store is None or not Path(store).exists():
        return 0
    with Store.reopen(store) as opened:
        return len(opened)


class _Probe:
    """Measurements of one worker."""

    def __init__(self, problem: Problem | Trainer, plan: Plan, executor: Executor) -> None:
        self.problem = problem
        self.plan = plan
        self.executor = executor
        nx, ny = plan.shape
        self.run = plan.run((nx // 2, ny - 1), 0)
        executor.call(start_worker)  # its start is no part of the time of a run
        self.choice = choose_engine(problem, plan, executor, self.run, nx * ny, {})
        if ignores_seed(self.choice, plan, executor, self.run, {}):
            self.plan = plan.with_one_seed()
        self.engine = self.choice.engine
        largest = chunk_size(problem, self.engine, plan.options.compile)
        self.chunk = affordable_chunk(plan, self.choice.speeds, largest)
        self.first = 0.0
        self.is_extrapolated = False

    def seconds_of(self, rounds: Rounds) -> ChunkSeconds | None:
        """The time of chunks, from a small and a large one; None if a run takes too long."""
        if isinstance(self.problem, Trainer):
            return self._of_trainer()
        large = max((size for sizes in rounds for size in sizes), default=1)
        small = min(SMALL_CHUNK, large)
        base = self._timed(small)
        if small == large or self.engine != "stacked":
            return ChunkSeconds(0.0, base / small)
        whole = self._timed(large)
        base = min(base, whole)  # a load of the machine can only lengthen either
        per_run = (whole - base) / (large - small)
        return ChunkSeconds(max(0.0, base - small * per_run), per_run)

    def usage(self) -> Usage:
        """Operations and memory."""
        if isinstance(self.problem, Trainer):
            return Usage(None, None, 0)
        return self.executor.call(usage, self.run, self.plan.run_options)

    def _timed(self, runs: int) -> float:
        chunk, options = self._spread(runs), self.plan.run_options
        measured = self.executor.call(chunk_time, chunk, self.engine, options, self.plan.steps)
        self.first = max(self.first, measured.first)
        self.is_extrapolated |= not measured.whole
        return measured.seconds

    def _spread(self, count: int) -> list[Run]:
        """Runs of cells that are spread over the map and can be trained together."""
        nx, ny = self.plan.shape
        group = self.plan.group((nx // 2, ny // 2))
        spots = [s for s in product(range(nx), range(ny)) if self.plan.group(s) == group]
        picked = np.linspace(0, len(spots) - 1, count).round().astype(int)
        return [self.plan.run(spots[k], 0) for k in picked]

    def _of_trainer(self) -> ChunkSeconds | None:
        """The time of one whole run, if it ends soon.

        The first run of a worker may take longer, so a quick one is timed a second time.
        """
        first = self._run_seconds()
        again = first if first is None or first > CHUNK_SECONDS else self._run_seconds()
        if first is None or again is None:
            return None
        self.first = max(0.0, first - again)
        return ChunkSeconds(0.0, again)

    def _run_seconds(self) -> float | None:
        began = time.perf_counter()
        call = self.executor.submit(train, [self.run], self.engine, self.plan.run_options)
        try:
            call.result(timeout=RUN_PATIENCE)
        except OutOfPatience:
            return None
        except WorkerLost as error:
            check_losses(1, error, most=1)
        return time.perf_counter() - began


def start_worker(problem: Problem | Trainer) -> None:
    """Do nothing: a worker has started and has opened the problem when this returns."""


def _makespan(sizes: list[int], seconds_of: Callable[[int], float], workers: int) -> float:
    """The time until the last chunk is finished, if a free worker takes the next one."""
    if len(sizes) <= workers:
        return max(map(seconds_of, sizes), default=0.0)
    ends = [seconds_of(size) for size in islice(sizes, workers)]
    heapq.heapify(ends)
    for size in islice(sizes, workers, None):
        heapq.heapreplace(ends, ends[0] + seconds_of(size))
    return max(ends)

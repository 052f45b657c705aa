"""Run the requested trainings: reuse finished ones, submit the rest to an executor, cooperate with
other processes.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from betaplane.executors import Executor, WorkerLost, check_losses
from betaplane.maps.plan import Plan, run_settings
from betaplane.maps.running import Running
from betaplane.maps.store.held_out import save_held_out, with_held_out
from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.maps.store.unfinished_runs import SavedChunk, chunk_key
from betaplane.maps.tasks import Task, chunks_of
from betaplane.maps.time_limit import TimeLimit
from betaplane.problems.commands.command_run import CommandFailed
from betaplane.replicas import Outcome, Run, final_value
from betaplane.replicas.worker import train

POLL_SECONDS = 0.2  # between two queries for the results of other processes
CLAIM_SECONDS = 1.0  # of work claimed at once, if a chunk takes less
HEARTBEAT_SECONDS = 20.0
FAILURE = "failure of "  # start of the name under which the failure of a command is stored


@dataclass(frozen=True)
class Progress:
    """How far a map is."""

    done: int = 0  # finished runs, including those from the store
    wanted: int = 0  # runs requested so far; refinement requests more
    computed: int = 0  # runs finished by this process and its workers
    seconds: float = 0.0  # since the start
    lost: int = 0  # workers that ended before their runs did

    @property
    def rate(self) -> float:
        """Runs per second in this process."""
        return self.computed / self.seconds if self.seconds > 0 else 0.0


class OutOfTime(Exception):
    """The time limit is reached; everything finished is in the store."""


class RunScheduler:
    """Train tasks with an executor, a store, and claims in the store.

    Args:
        plan: gives the runs of the tasks and the time limit.
        executor: where the runs execute. Runs whose worker is lost are submitted again.
        store: keeps every finished run.
        engine: "stacked", "plain", "callable" or "command".
        chunk: number of runs trained together, >= 1.
        watch: called with the progress after every finished chunk, and at every heartbeat.
        began: time.monotonic() at which the plan's seconds begin; now by default.
    """

    running_type = Running  # waits for workers
    clock = staticmethod(time.monotonic)

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        store: Store,
        engine: str,
        chunk: int,
        watch: Callable[[Progress], None],
        began: float | None = None,
    ) -> None:
        self.plan = plan
        self.executor = executor
        self.store = store
        self.engine = engine
        self.chunk = chunk
        self.watch = watch
        self.owner = Owner.here()
        self.last_heartbeat = self.clock()
        began = self.last_heartbeat if began is None else began
        self.limit = TimeLimit(plan.seconds, began, self.clock)
        self.known: dict[str, Record] = {}  # every requested run that is finished
        self.progress = Progress()
        self.losses: Counter[str] = Counter()  # of workers, by the key of the chunk
        self.has_trained = False  # whether a run of this process ended with losses

    def finished(self, tasks: Sequence[Task]) -> dict[str, Record]:
        """The results of all tasks, by key; each is on disk before `watch` is called.

        Raises:
            OutOfTime: the plan's time is spent; runs that end shortly after are stored first.
        """
        new = self._missing(tasks)
        self._learn(self.stored(new), wanted=len(new))
        chunks = chunks_of(tasks, self.chunk, self.plan.steps)
        while missing := self._missing(tasks):
            self._train(chunks)
            self._learn(self.stored(self._missing(tasks)))  # results of other processes
            still_missing = self._missing(tasks)
            if still_missing and self._is_late():
                raise OutOfTime
            if len(still_missing) == len(missing):
                time.sleep(POLL_SECONDS)
                self._heartbeat()
        return {task.key: self.known[task.key] for task in tasks}

    def stored(self, keys: Sequence[str]) -> dict[str, Record]:
        """The finished runs among some keys, by key; from the store."""
        records = with_held_out(self.store.load(keys), self.store.meta)
        # earlier releases stored the median of the last tenth as the final loss
        judge = self.plan.options.judge
        return {key: replace(r, final=final_value(r.curve, judge)) for key, r in records.items()}

    def failures(self) -> list[dict[str, Any]]:
        """How commands failed, of the requested runs."""
        stored = self.store.meta.starting_with(FAILURE)
        return [stored[key] for key in self.known if key in stored]

    def _missing(self, tasks: Sequence[Task]) -> list[str]:
        return [task.key for task in tasks if task.key not in self.known]

    def _store(self, trained: Sequence[tuple[list[Task], list[Outcome]]]) -> None:
        """Store what has ended, in one transaction: each is a write to the disk."""
        pairs = [pair for ended in trained for pair in zip(*ended, strict=True)]
        records = [self._record(task, outcome) for task, outcome in pairs]
        self.store.finish(records, chunks=[_chunk_key(tasks) for tasks, _ in trained])
        save_held_out(self.store.meta, records)
        for task, outcome in pairs:
            if outcome.failure is not None:
                self.store.meta[f"{FAILURE}{task.key}"] = {**outcome.failure, **_named(task.run)}
        self._learn({record.key: record for record in records}, computed=len(records))

    def _learn(self, records: dict[str, Record], *, wanted: int = 0, computed: int = 0) -> None:
        self.known |= records
        if records or wanted:
            self.progress = Progress(
                done=len(self.known),
                wanted=self.progress.wanted + wanted,
                computed=self.progress.computed + computed,
                seconds=self.limit.spent,
                lost=self.losses.total(),
            )
            self.watch(self.progress)

    def _train(self, chunks: Sequence[Sequence[Task]]) -> None:
        """Claim and train runs that are neither finished nor claimed elsewhere; store each chunk
        when it ends.
        """
        running = self.running_type()
        for claimed in self._claimed(chunks, lambda: self.executor.ahead - len(running)):
            if claimed:
                running.add(self._submit(claimed), claimed)
            while len(running) > self.executor.ahead:
                self._collect(running)
        while len(running):
            self._collect(running)

    def _submit(self, tasks: Sequence[Task]) -> Future:
        runs = [task.run for task in tasks]
        saved = None
        if self.engine == "stacked" and self.executor.sees_files:
            saved = SavedChunk(self.store.path, _chunk_key(tasks))
        return self.executor.submit(train, runs, self.engine, self.plan.run_options, saved)

    def _claimed(
        self, chunks: Sequence[Sequence[Task]], missing: Callable[[], int]
    ) -> Iterator[list[Task]]:
        """The tasks of each chunk that this process may train.

        A claim is a write to the disk, so short runs are claimed several chunks at a time, and as
        many chunks as half of the workers lack. Other long ones are claimed one chunk at a time and
        stay available to other processes. `missing` returns how many chunks can be submitted now.
        """
        ahead = first = 0
        while (first := first + ahead) < len(chunks):
            in_time = int(CLAIM_SECONDS * self.progress.rate / self.chunk)
            ahead = max(1, in_time, missing() // 2)
            portion = chunks[first : first + ahead]
            wanted = self._missing([task for chunk in portion for task in chunk])
            granted = self.store.claim(wanted, self.owner) if wanted else set()
            for chunk in portion:
                if self._is_late():
                    return
                yield [task for task in chunk if task.key in granted]

    def _collect(self, running: Running[list[Task]]) -> None:
        """Wait for a chunk to end, and store all that have ended."""
        if self._is_late():
            running.cancel_waiting()
        ended = running.take_ended(self._wait_seconds())
        if not ended and len(running) and self._wait_seconds() <= 0:
            raise OutOfTime
        self._heartbeat()
        trained = []
        try:
            # results before failures, so that every result is stored
            for future, tasks in sorted(ended, key=lambda end: end[0].exception() is not None):
                if isinstance(error := future.exception(), WorkerLost):
                    running.add(self._submit_again(tasks, error), tasks)
                else:
                    trained.append((tasks, self._outcomes(future)))
        finally:
            if trained:
                self._store(trained)

    def _submit_again(self, tasks: Sequence[Task], error: WorkerLost) -> Future:
        key = _chunk_key(tasks)
        self.losses[key] += 1
        check_losses(self.losses[key], error)
        return self._submit(tasks)

    def _outcomes(self, future: Future) -> list[Outcome]:
        """The outcomes of a chunk.

        A command that failed before its first loss stops the map, unless a run of this process has
        logged losses before: then the settings are to blame, and the run counts as diverged.
        """
        try:
            outcomes = future.result()
        except CommandFailed as error:
            if not self.has_trained or error.failure is None:
                raise
            lost = np.array([np.nan], np.float32)
            return [Outcome(math.nan, lost, False, math.nan, failure=error.failure)]
        self.has_trained = True
        return outcomes

    def _record(self, task: Task, outcome: Outcome) -> Record:
        return Record(
            key=task.key,
            settings=run_settings(task.run),
            seed=task.run.seed,
            steps=task.run.steps or self.plan.steps,
            initial=outcome.initial,
            final=outcome.final,
            curve=outcome.curve,
            seconds=outcome.seconds,
            engine=self.engine,
            held_out=outcome.held_out,
        )

    def _is_late(self) -> bool:
        """Whether the plan's time is spent.

        Never before the first run is finished: without it there is no map.
        """
        return bool(self.known) and self.limit.is_over

    def _wait_seconds(self) -> float:
        """Seconds to wait for a run; the first one is always waited for."""
        return self.limit.wait_seconds(HEARTBEAT_SECONDS) if self.known else HEARTBEAT_SECONDS

    def _heartbeat(self) -> None:
        if self.clock() - self.last_heartbeat > HEARTBEAT_SECONDS:
            self.last_heartbeat = self.clock()
            self.store.beat(self.owner)
            self.watch(self.progress)


def _named(run: Run) -> dict[str, Any]:
    """Settings and seed of a run, to find it in the list of failures."""
    return {"settings": run_settings(run), "seed": run.seed}


def _chunk_key(tasks: Sequence[Task]) -> str:
    return chunk_key(task.key for task in tasks)

"""Get trainings done: from the store where they are finished, from workers where not, whoever else
is at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import NamedTuple

from betaplane.maps.phase_map import Spot
from betaplane.maps.plan import Plan, run_settings
from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.maps.store.unfinished_runs import Shelf, chunk_key
from betaplane.replicas import Outcome, Pool

POLL = 0.2  # seconds between two looks at what other processes have finished
SHIFT = 1.0  # seconds of work claimed at once, where a chunk is less
BEAT = 20.0  # seconds between two signs of life
# of the plan's time, after which runs under way are given up; the state of stacks is saved
# meanwhile
LATENESS = 1.05


class Task(NamedTuple):
    """One training that is wanted."""

    key: str
    spot: Spot
    seed: int


@dataclass(frozen=True)
class Progress:
    """How far a map is."""

    done: int  # trainings finished, those found in the store included
    wanted: int  # trainings asked for so far; refinement asks for more
    computed: int  # trainings finished in this process
    seconds: float  # since the start

    @property
    def rate(self) -> float:
        """Trainings a second in this process."""
        return self.computed / self.seconds if self.seconds > 0 else 0.0


class OutOfTime(Exception):
    """The time budget is spent; what is finished is in the store."""


class RunScheduler:
    """Workers, a store and the claims on it: `finished` brings the results of any tasks."""

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        store: Store,
        engine: str,
        chunk: int,
        watch: Callable[[Progress], None],
        # time.monotonic() at which the plan's seconds begin; now if left out
        began: float | None = None,
    ) -> None:
        self.plan, self.pool, self.store, self.engine, self.chunk, self.watch = (
            plan,
            pool,
            store,
            engine,
            chunk,
            watch,
        )
        self.me = Owner.here()
        self.beaten = time.monotonic()
        self.began = self.beaten if began is None else began
        self.known: dict[str, Record] = {}  # every training that was ever wanted and is finished
        self.progress = Progress(0, 0, 0, 0.0)

    def finished(self, tasks: Sequence[Task]) -> dict[str, Record]:
        """The results of all tasks, by key; every one is durable before `watch` hears of it.

        Raises:
            OutOfTime: the plan's time is spent; tasks under way that end soon after are stored first.
        """
        new = self._missing(tasks)
        self._learn(self.store.load(new), wanted=len(new))
        chunks = self._chunks(tasks)
        while missing := self._missing(tasks):
            for chunk, outcomes in self._trained(chunks):
                records = [
                    self._record(task, outcome)
                    for task, outcome in zip(chunk, outcomes, strict=True)
                ]
                self.store.finish(records, chunk=_chunk(chunk))
                self._learn({record.key: record for record in records}, computed=len(records))
            self._learn(self.store.load(self._missing(tasks)))  # what other processes have finished
            left = self._missing(tasks)
            if left and self._late():
                raise OutOfTime
            if len(left) == len(missing):
                time.sleep(POLL)
                self._sign_of_life()
        return {task.key: self.known[task.key] for task in tasks}

    def _missing(self, tasks: Sequence[Task]) -> list[str]:
        return [task.key for task in tasks if task.key not in self.known]

    def _learn(self, records: dict[str, Record], *, wanted: int = 0, computed: int = 0) -> None:
        self.known |= records
        if records or wanted:
            p, seconds = self.progress, time.monotonic() - self.began
            self.progress = Progress(
                len(self.known), p.wanted + wanted, p.computed + computed, seconds
            )
            self.watch(self.progress)

    def _chunks(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Tasks that are trained together: one seed, one batch size, in the order of their spots.

        What is already finished is not taken out first, so that a killed map is resumed in the same chunks.
        """
        groups: dict[tuple[int, int], list[Task]] = {}
        for task in sorted(tasks, key=lambda t: (t.seed, t.spot)):
            groups.setdefault((self.plan.run(task.spot, 0).batch_size, task.seed), []).append(task)
        return [
            group[i : i + self.chunk]
            for group in groups.values()
            for i in range(0, len(group), self.chunk)
        ]

    def _trained(
        self, chunks: Sequence[Sequence[Task]]
    ) -> Iterator[tuple[list[Task], list[Outcome]]]:
        """Claim and train what is neither finished nor somebody else's; yields chunks as they end."""
        under_way: dict[Future, list[Task]] = {}
        for mine in self._claimed(chunks):
            if mine:
                runs = [self.plan.run(task.spot, task.seed) for task in mine]
                keeper = Shelf(self.store.path, _chunk(mine)) if self.engine == "stacked" else None
                under_way[self.pool.submit(runs, self.engine, self.plan.options, keeper)] = mine
            while len(under_way) > 2 * max(1, self.pool.workers) - (self.pool.workers == 0):
                yield from self._ended(under_way)
        while under_way:
            yield from self._ended(under_way)

    def _claimed(self, chunks: Sequence[Sequence[Task]]) -> Iterator[list[Task]]:
        """Of each chunk, what is ours to train.

        A claim is a write to the disk, so that quick trainings are claimed some chunks at a time; slow ones are left to
        whoever is free first.
        """
        ahead = first = 0
        while (first := first + ahead) < len(chunks):
            ahead = max(1, int(SHIFT * self.progress.rate / self.chunk))
            shift = chunks[first : first + ahead]
            wanted = self._missing([task for chunk in shift for task in chunk])
            granted = self.store.claim(wanted, self.me) if wanted else set()
            for chunk in shift:
                if self._late():
                    return
                yield [task for task in chunk if task.key in granted]

    def _ended(
        self, under_way: dict[Future, list[Task]]
    ) -> Iterator[tuple[list[Task], list[Outcome]]]:
        if self._late():
            for waiting in [future for future in under_way if future.cancel()]:
                del under_way[waiting]
        ended, _ = wait(under_way, timeout=self._patience(), return_when=FIRST_COMPLETED)
        if not ended and self._patience() <= 0:
            raise OutOfTime
        self._sign_of_life()
        # keep what is done before any failure
        for future in sorted(ended, key=lambda f: f.exception() is not None):
            yield under_way.pop(future), self.pool.result(future)

    def _record(self, task: Task, outcome: Outcome) -> Record:
        settings = run_settings(self.plan.run(task.spot, task.seed))
        return Record(
            task.key, settings, task.seed, self.plan.steps,
            outcome.initial, outcome.final, outcome.curve, outcome.seconds, self.engine,
        )  # fmt: skip

    def _late(self) -> bool:
        """Whether the plan's time is spent; never before the first run is finished, without which
        there is no map.
        """
        spent = time.monotonic() - self.began
        return self.plan.seconds is not None and bool(self.known) and spent > self.plan.seconds

    def _patience(self) -> float:
        """Seconds to wait for a run: what is left of the plan's time and some more; the first is
        always waited for.
        """
        if self.plan.seconds is None or not self.known:
            return BEAT
        return max(0.0, min(BEAT, self.began + LATENESS * self.plan.seconds - time.monotonic()))

    def _sign_of_life(self) -> None:
        if time.monotonic() - self.beaten > BEAT:
            self.beaten = time.monotonic()
            self.store.beat(self.me)


def _chunk(tasks: Sequence[Task]) -> str:
    return chunk_key(task.key for task in tasks)

"""Print efficiency and the driver's work per run: python -m benchmarks.scheduler [WORKERS [RUNS]].

Times of runs are those of a real map of the digits, scaled to a mean of 60 s. One run in a hundred
loses its worker on the way and is computed again; one in a hundred takes three times as long.

    efficiency = time of finished runs / (workers x time)

until the last run has started, which is what the scheduler is responsible for, and until the last
run has ended, when most workers have had nothing to do for a while. The driver's work is CPU time
(the machine may be busy) of choosing, submitting, claiming, storing and judging.

Required at 10,000 workers: an efficiency of at least 0.95, and at most 2 ms of the driver's work
per run. It takes about ten minutes.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scheduler.workers import Clock, Workers, running_on
from betaplane.executors import Executor
from betaplane.maps import Store, map_phases, plan_for
from betaplane.maps.mapper import Mapper
from betaplane.maps.plan import Plan
from betaplane.maps.scheduler import RunScheduler
from betaplane.problems import Trainer, load
from betaplane.replicas import Outcome, Run

MEAN_SECONDS = 60.0
FAILURES, STRAGGLERS, SLOWER = 0.01, 0.01, 3.0
POINTS = 100  # of a loss curve
CURVE = np.linspace(2.3, 0.1, POINTS, dtype=np.float32)


def measured_ratios() -> list[float]:
    """Times of the runs of a real map, relative to their mean."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.sqlite"
        problem = load("digits:steps=200")
        map_phases(problem, points=8, seeds=2, dense=True, search_lr=False, engine="plain",
                   store=path, workers=1)  # fmt: skip
        with Store.reopen(path) as store:
            seconds = [record.seconds for record in store.all()]
    mean = sum(seconds) / len(seconds)
    return [each / mean for each in seconds]


def drawn(ratios: list[float], rng: random.Random) -> tuple[float, float]:
    """The seconds of a run, and of its attempt that was lost, if there was one."""
    slower = SLOWER if rng.random() < STRAGGLERS else 1.0
    mean = 1 + STRAGGLERS * (SLOWER - 1)
    seconds = MEAN_SECONDS / mean * slower * rng.choice(ratios)
    return seconds, seconds * rng.random() if rng.random() < FAILURES else 0.0


class SimulatedExecutor(Executor):
    """Simulated workers as an executor."""

    name = "simulated workers"

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    @property
    def slots(self) -> int:
        return self.workers.count

    def submit(self, function: Callable, *arguments: Any) -> Future:
        runs: list[Run] = arguments[0]
        return self.workers.submit([_outcome(run) for run in runs])

    def close(self) -> None:
        """Nothing is left to end."""


def _outcome(run: Run) -> Outcome:
    """Failing at beta1 >= sqrt(beta2), as most problems do."""
    rule: Any = run.rule
    fails = rule.beta1 >= math.sqrt(rule.beta2)
    return Outcome(2.3, CURVE[::-1] if fails else CURVE, True, MEAN_SECONDS)


class SimulatedMapper(Mapper):
    """The mapper, with a scheduler that lives in simulated time."""

    def _scheduler(self, watch: Any) -> RunScheduler:
        workers = self.executor.workers  # pyright: ignore[reportAttributeAccessIssue]
        scheduler_type = type(
            "SimulatedScheduler",
            (RunScheduler,),
            {"running_type": running_on(workers), "clock": workers.clock},
        )
        return scheduler_type(
            self.plan, self.executor, self.store, self.choice.engine, 1, watch, workers.clock()
        )


def simulate(plan: Plan, count: int, ratios: list[float]) -> dict[str, float]:
    """Map a plan on simulated workers."""
    rng, clock = random.Random(0), Clock()
    workers = Workers(count, clock, lambda: drawn(ratios, rng))
    trainer = Trainer("simulated", lambda settings, seed: [1.0])
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(f"{folder}/map.sqlite", "simulated", "simulated") as store,
    ):
        clock.resume()
        executor = SimulatedExecutor(workers)
        SimulatedMapper(trainer, plan, executor, store, clock()).run(lambda _: None, None)
        clock.stop()
        runs = len(store)
    starts, lost, useful = np.array(workers.runs).T
    end = float((starts + lost + useful).max())
    return {
        "runs": runs,
        "lost": int((lost > 0).sum()),
        "hours": end / 3600,
        "busy": workers.efficiency(float(starts.max())),
        "whole": workers.efficiency(end),
        "ms": 1e3 * clock.driver / runs,
    }


def plan_of(runs: int, dense: bool) -> Plan:
    """A map of about so many runs."""
    side = round(math.sqrt(runs / 2))
    trainer = Trainer("simulated", lambda settings, seed: [1.0])
    return plan_for(trainer, points=side, seeds=2, dense=dense, search_lr=False)


def main(arguments: list[str]) -> None:
    count = int(arguments[0]) if arguments else 10_000
    sizes = [int(arguments[1])] if len(arguments) > 1 else [10 * count, 30 * count, 100 * count]
    ratios = measured_ratios()
    longest = MEAN_SECONDS * max(ratios)
    print(f"{count:,} workers; runs of {MEAN_SECONDS:.0f} s on average and up to {longest:.0f} s")
    heads = ("map", "runs", "lost", "hours", "efficiency: started", "ended", "driver, ms/run")
    print("{:26} {:>9} {:>6} {:>6} {:>20} {:>6} {:>15}".format(*heads))
    for dense, size in [*((True, size) for size in sizes), (False, sizes[-1])]:
        plan = plan_of(size, dense)
        found = simulate(plan, count, ratios)
        name = f"{plan.shape[0]} x {plan.shape[1]}, {'every cell' if dense else 'refined'}"
        print(
            f"{name:26} {found['runs']:9,} {found['lost']:6,} {found['hours']:6.2f} "
            f"{found['busy']:20.3f} {found['whole']:6.3f} {found['ms']:15.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])

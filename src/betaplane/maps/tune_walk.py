"""The walk of `tune` over a lattice of memory horizons, in factors of 2."""

from __future__ import annotations

import math
from collections.abc import Iterator

from betaplane.maps.grid import Axis, explicit
from betaplane.maps.phase_map import Spot
from betaplane.maps.plan import Plan
from betaplane.maps.scheduler import RunScheduler, Task
from betaplane.maps.store.run_record import Record
from betaplane.maps.verdicts import score
from betaplane.problems import Problem, Trainer

START_HORIZON = 10.0  # of beta1 and beta2: both start at 0.9
MIN_HORIZON = 1.25  # of the values tried, besides beta = 0
MAX_HORIZON = 10_000.0
PATIENCE_STEPS = 2  # steps that do not lower the loss, after which a walk ends
MAX_PASSES = 3  # over beta2 and beta1
BETA1, BETA2 = 0, 1  # the directions of a walk


class Tuner:
    """One search in progress.

    Args:
        problem: what is trained.
        plan: its axes are the lattice, see `lattice_axes`.
        scheduler: trains the settings.
    """

    def __init__(self, problem: Problem | Trainer, plan: Plan, scheduler: RunScheduler) -> None:
        self.problem = problem
        self.plan = plan
        self.scheduler = scheduler
        self.records: dict[Spot, list[Record]] = {}  # in the order they were tried

    def run(self) -> tuple[float, float] | None:
        """Walk until no walk lowers the loss; returns the threshold of beta2, see `_threshold`."""
        best = self._nearest(1 - 1 / START_HORIZON, 1 - 1 / START_HORIZON)
        best = self._walk(best, BETA2, 1)
        threshold = self._threshold()
        for _ in range(MAX_PASSES):
            before = best
            for along, by in ((BETA1, 1), (BETA1, -1), (BETA2, 1), (BETA2, -1)):
                best = self._walk(best, along, by)
            if best == before:
                break
        return threshold

    def loss(self, spot: Spot) -> float:
        """The median final loss of a setting, the upper of two; trains it if necessary."""
        if spot not in self.records:
            runs = [self.plan.run(spot, seed) for seed in range(self.plan.seeds)]
            tasks = [Task(self.plan.key(run), run) for run in runs]
            results = self.scheduler.finished(tasks)
            self.records[spot] = [results[task.key] for task in tasks]
        finals = sorted(record.final for record in self.records[spot])
        return finals[len(finals) // 2]

    @property
    def initial(self) -> float:
        """The loss before training."""
        return float(next(iter(self.records.values()))[0].initial)

    def _walk(self, start: Spot, along: int, by: int) -> Spot:
        """Walk from a setting along an axis for as long as the loss falls; the best setting."""
        best, lowest, waited = start, self.loss(start), 0
        for spot in self._line(start, along, by):
            loss = self.loss(spot)
            if loss < lowest:
                best, lowest, waited = spot, loss, 0
            else:
                waited += 1
            if waited == PATIENCE_STEPS:
                break
        return best

    def _line(self, start: Spot, along: int, by: int) -> Iterator[Spot]:
        """The settings after `start` in one direction, as long as beta1 < sqrt(beta2)."""
        i, j = start
        while True:
            i, j = (i + by, j) if along == BETA1 else (i, j + by)
            if not (0 <= i < len(self.plan.x) and 0 <= j < len(self.plan.y)):
                return
            if not self.plan.x.values[i] < math.sqrt(self.plan.y.values[j]):
                return
            yield i, j

    def _threshold(self) -> tuple[float, float] | None:
        """The last beta2 that was not good and the first that was, in the first walk."""
        best = self.problem.best
        if best is None:
            best = min(self.loss(spot) for spot in self.records)
        last = None
        for spot in sorted(self.records):
            beta2 = self.plan.y.values[spot[1]]
            if score(self.loss(spot), self.initial, best) < self.plan.thresholds.good:
                return None if last is None else (last, beta2)
            last = beta2
        return None

    def _nearest(self, beta1: float, beta2: float) -> Spot:
        return _nearest_index(self.plan.x, beta1), _nearest_index(self.plan.y, beta2)


def _nearest_index(axis: Axis, beta: float) -> int:
    return min(range(len(axis)), key=lambda i: abs(axis.values[i] - beta))


def lattice_axes(problem: Problem | Trainer) -> tuple[Axis, Axis]:
    """Axes of horizons in factors of 2 around START_HORIZON.

    The horizon of v is at most the number of steps, or START_HORIZON in a shorter run.
    """
    longest = min(MAX_HORIZON, problem.steps) if isinstance(problem, Problem) else MAX_HORIZON
    beta1 = explicit("beta1", [0.0, *_betas(MAX_HORIZON / START_HORIZON)])
    return beta1, explicit("beta2", [0.0, *_betas(max(longest, START_HORIZON))])


def _betas(longest: float) -> list[float]:
    low = math.floor(math.log2(START_HORIZON / MIN_HORIZON))
    high = math.floor(math.log2(longest / START_HORIZON))
    return [float(f"{1 - 1 / (START_HORIZON * 2.0**k):.12g}") for k in range(-low, high + 1)]

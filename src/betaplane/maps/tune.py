"""The recipe of Zhang et al. as an algorithm: raise beta2 past its threshold, then try beta1 below
sqrt(beta2).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, expect, expect_function
from betaplane.maps.engine import choose_engine
from betaplane.maps.grid import Axis, explicit
from betaplane.maps.mapper import store_of
from betaplane.maps.phase_map import Spot
from betaplane.maps.plan import Plan, plan_for
from betaplane.maps.progress import shown_progress
from betaplane.maps.scheduler import Progress, RunScheduler, Task
from betaplane.maps.store.run_record import Record
from betaplane.maps.validation import check_resources
from betaplane.maps.verdicts import score
from betaplane.problems import Problem, Trainer, check
from betaplane.problems.source import as_problem
from betaplane.replicas import Pool, Source
from betaplane.text import json_safe

START = 10.0  # memory horizon of beta1 and beta2 where it begins: 0.9, 0.9
SHORTEST, LONGEST = 1.25, 10_000.0  # horizons tried, besides beta = 0
PATIENCE = 2  # steps that do not lower the loss until a walk ends
PASSES = 3  # over beta2 and beta1 at most
GRID = 24 * 24 * 2  # trainings of a dense map as `betaplane map --dense` makes it


@dataclass(frozen=True)
class Trial:
    """A setting that was tried."""

    beta1: float
    beta2: float
    loss: float  # median over seeds of the final losses, the upper of two; inf where it diverged
    finals: tuple[float, ...]  # one a seed


@dataclass(frozen=True)
class Tuned:
    """What tuning found."""

    problem: str
    beta1: float
    beta2: float
    loss: float
    # the last beta2 that was not good and the first that was, at beta1 = 0.9
    threshold: tuple[float, float] | None
    trials: tuple[Trial, ...] = field(repr=False)  # in the order they were tried
    trainings: int
    grid: int  # trainings of a dense map of 24 x 24 settings with two seeds
    initial: float  # loss before training
    fixed: Mapping[str, float] = field(default_factory=dict)  # lr, batch_size, eps, ...
    # why the problem cannot be stacked, as what comes after "because"; "" if it can
    why_plain: str = ""

    @property
    def reason(self) -> str:
        """One sentence on how it came about."""
        passed = (
            f"beta2 passed its threshold between {self.threshold[0]:.4g} and {self.threshold[1]:.4g}; "
            if self.threshold
            else ""
        )
        return (
            f"{passed}the lowest loss of {len(self.trials)} settings, {self.trainings} trainings "
            f"({self.trainings / self.grid:.1%} of a grid's {self.grid:,})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a loss that is not finite is None."""
        told = {**asdict(self), "fixed": dict(self.fixed), "reason": self.reason}
        return json_safe(told)


def tune(
    source: Source,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    changes: Mapping[str, Any] | None = None,
    watch: Callable[[Progress], None] | None = None,
    progress: bool | None = None,
    **how: Any,
) -> Tuned:
    r"""Find betas in a few trainings: halve 1 - beta2 until the loss falls no further, then try
    beta1 < sqrt(beta2).

    It begins at (0.9, 0.9) and walks in factors of 2 of the memory horizon: up in beta2, then down and up in beta1,
    then over beta2 and beta1 again while that helps, three times at most. A walk ends after two steps that do not lower
    the loss, and at beta1 = sqrt(beta2). Trainings whose failure is certain are cut.

    Args:
        source: what `map_phases` takes: a Problem, a Trainer, a function train(settings, seed), a reference ("digits").
        store: file that keeps every finished training, of the kind maps use; the same call continues from it.
        workers: worker processes; None is one a core, 0 trains in this process.
        changes: fields of the problem to replace after loading.
        watch: called with the progress after every finished training, in place of the bar.
        progress: whether to show how far it is; by default in terminals and notebooks, after two seconds.
        how: what `plan_for` takes: rule, lr, batch_size, steps, seeds.

    Returns:
        The best setting, all that were tried, and what they cost.

    Raises:
        BadInput: the problem cannot be trained, the rule has no betas, or every setting diverged.

    Source: Y. Zhang et al., 2026, arXiv:2603.02092: raise beta2 as batches shrink, past its threshold, then tune
    beta1 < sqrt(beta2). The factors and the patience are ours.

    Example:
        >>> def train(settings, seed):  # diverges below 0.93, best at 0.975
        ...     beta2 = settings["beta2"]
        ...     return [1.0, abs(beta2 - 0.975) if beta2 > 0.93 else math.inf]
        >>> found = tune(Trainer("mine", train), seeds=1, workers=0)
        >>> found.beta2, found.threshold, found.trainings
        (0.975, (0.9, 0.95), 9)
    """
    check_resources(store, workers)
    if watch is not None:
        expect_function(watch, "watch", "watch=print", "tune", takes=1)
    problem = as_problem(source)
    with ExitStack() as held:
        bar = held.enter_context(shown_progress("trainings", progress))
        if temporary := store is None:
            store = (
                Path(held.enter_context(tempfile.TemporaryDirectory(prefix="betaplane-")))
                / "tune.sqlite"
            )
        expect(changes, (Mapping, type(None)), "changes", 'changes={"schedule": "constant"}')
        changes = dict(changes or {}) if isinstance(problem, Problem) else {}
        if isinstance(problem, Problem):
            problem = problem.with_(
                **changes, **({"steps": how["steps"]} if how.get("steps") else {})
            )
            check(problem)
        plan = plan_for(problem, *_axes(problem), **how)
        pool = Pool(problem, workers=workers, leftovers=[Path(store).parent] if temporary else [])
        kept = held.enter_context(store_of(problem, store))
        held.enter_context(pool)
        choice = choose_engine(problem, plan, pool, plan.run((0, 0), 0), plan.seeds, kept.meta)
        found = Tuner(
            problem, plan, RunScheduler(plan, pool, kept, choice.engine, 1, watch or bar.watch)
        ).run()
        return replace(found, why_plain=choice.why_plain)


class Tuner:
    """One tuning under way: the settings lie on a lattice of horizons, in factors of 2."""

    def __init__(self, problem: Problem | Trainer, plan: Plan, crew: RunScheduler) -> None:
        self.problem, self.plan, self.crew = problem, plan, crew
        self.records: dict[Spot, list[Record]] = {}

    def run(self) -> Tuned:
        """Walk until no walk helps."""
        best = self._nearest(1 - 1 / START, 1 - 1 / START)
        best = self._walk(best, along=1, by=1)
        threshold = self._threshold()
        for _ in range(PASSES):
            before = best
            for along, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
                best = self._walk(best, along, by)
            if best == before:
                break
        return self._tuned(threshold)

    def _walk(self, start: Spot, along: int, by: int) -> Spot:
        """From a spot along an axis for as long as it helps; the best spot of all."""
        best, lowest, waited = start, self._loss(start), 0
        for spot in self._line(start, along, by):
            loss = self._loss(spot)
            best, lowest, waited = (spot, loss, 0) if loss < lowest else (best, lowest, waited + 1)
            if waited == PATIENCE:
                break
        return best

    def _line(self, start: Spot, along: int, by: int) -> Iterator[Spot]:
        """The spots on from `start`, as far as beta1 < sqrt(beta2)."""
        i, j = start
        while True:
            i, j = (i + by, j) if along == 0 else (i, j + by)
            if not (0 <= i < len(self.plan.x) and 0 <= j < len(self.plan.y)):
                return
            if not self.plan.x.values[i] < math.sqrt(self.plan.y.values[j]):
                return
            yield i, j

    def _loss(self, spot: Spot) -> float:
        if spot not in self.records:
            seeds = range(self.plan.seeds)
            found = self.crew.finished([Task(self.plan.key(spot, s), spot, s) for s in seeds])
            self.records[spot] = [found[self.plan.key(spot, s)] for s in seeds]
        finals = sorted(one.final for one in self.records[spot])
        return finals[len(finals) // 2]

    def _initial(self) -> float:
        return float(next(iter(self.records.values()))[0].initial)

    def _threshold(self) -> tuple[float, float] | None:
        """Where the first walk passed from settings that are not good to good ones."""
        best = min(self._loss(spot) for spot in self.records)
        best = best if self.problem.best is None else self.problem.best
        last = None
        for spot in sorted(self.records):
            beta2 = self.plan.y.values[spot[1]]
            if score(self._loss(spot), self._initial(), best) < self.plan.thresholds.good:
                return None if last is None else (last, beta2)
            last = beta2
        return None

    def _nearest(self, beta1: float, beta2: float) -> Spot:
        def place(axis: Axis, beta: float) -> int:
            return min(range(len(axis)), key=lambda i: abs(axis.values[i] - beta))

        return place(self.plan.x, beta1), place(self.plan.y, beta2)

    def _tuned(self, threshold: tuple[float, float] | None) -> Tuned:
        spots = [spot for spot in self.records if math.isfinite(self._loss(spot))]
        if not spots:
            raise BadInput(
                "Every setting diverged",
                value=len(self.records),
                allowed="a learning rate at which some setting trains",
                where=f"problem {self.problem.name!r}, lr={self.plan.lr:g}",
                instead=f"lr={self.plan.lr / 10:g}",
            )
        best = min(spots, key=self._loss)
        at = self.plan.at(best)
        trials = tuple(
            Trial(
                self.plan.x.values[i],
                self.plan.y.values[j],
                self._loss((i, j)),
                tuple(r.final for r in records),
            )
            for (i, j), records in self.records.items()
        )
        return Tuned(
            self.problem.name, at["beta1"], at["beta2"], self._loss(best), threshold, trials,
            sum(len(records) for records in self.records.values()), GRID, self._initial(), self.plan.fixed,
        )  # fmt: skip


def _axes(problem: Problem | Trainer) -> tuple[Axis, Axis]:
    """Horizons in factors of 2 around START; v's up to the number of steps, or START in a shorter
    run.
    """
    longest = min(LONGEST, problem.steps) if isinstance(problem, Problem) else LONGEST
    return explicit("beta1", [0.0, *_betas(LONGEST / START)]), explicit(
        "beta2", [0.0, *_betas(max(longest, START))]
    )


def _betas(longest: float) -> list[float]:
    low, high = math.floor(math.log2(START / SHORTEST)), math.floor(math.log2(longest / START))
    return [float(f"{1 - 1 / (START * 2.0**k):.12g}") for k in range(-low, high + 1)]

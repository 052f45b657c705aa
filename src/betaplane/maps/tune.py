"""Find betas in a few runs: raise beta2 past its threshold, then try beta1 below sqrt(beta2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, expect, expect_function
from betaplane.maps.engine import choose_engine
from betaplane.maps.mapper import store_of, temporary_store
from betaplane.maps.plan import Plan, plan_for
from betaplane.maps.progress import shown_progress
from betaplane.maps.scheduler import Progress, RunScheduler
from betaplane.maps.tune_walk import Tuner, lattice_axes
from betaplane.maps.validation import check_resources
from betaplane.problems import Problem, Trainer, check
from betaplane.problems.source import as_problem
from betaplane.replicas import Pool, Source

DENSE_MAP_RUNS = 24 * 24 * 2  # of `betaplane map --dense`


@dataclass(frozen=True)
class Trial:
    """A setting that was tried."""

    beta1: float
    beta2: float
    # median over seeds of the final losses, the upper of two; inf if the run diverged
    loss: float
    finals: tuple[float, ...]  # one per seed


@dataclass(frozen=True)
class Tuned:
    """The result of `tune`."""

    problem: str
    beta1: float
    beta2: float
    loss: float
    # the last beta2 that was not good and the first that was, at beta1 = 0.9
    threshold: tuple[float, float] | None
    trials: tuple[Trial, ...] = field(repr=False)  # in the order they were tried
    trainings: int  # number of runs
    grid: int  # runs of a dense map of 24 x 24 settings with two seeds
    initial: float  # loss before training
    fixed: Mapping[str, float] = field(default_factory=dict)  # lr, batch_size, eps, ...
    # why the problem cannot be stacked, as a clause after "because"; "" if it can
    why_plain: str = ""

    @property
    def reason(self) -> str:
        """One sentence on how the result was found."""
        passed = ""
        if self.threshold:
            below, above = self.threshold
            passed = f"beta2 passed its threshold between {below:.4g} and {above:.4g}; "
        return (
            f"{passed}the lowest loss of {len(self.trials)} settings, {self.trainings} runs "
            f"({self.trainings / self.grid:.1%} of a grid's {self.grid:,})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a loss that is not finite is None."""
        trials = [
            {
                **asdict(trial),
                "loss": _finite_or_none(trial.loss),
                "finals": [_finite_or_none(final) for final in trial.finals],
            }
            for trial in self.trials
        ]
        return {**asdict(self), "fixed": dict(self.fixed), "reason": self.reason, "trials": trials}


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
    r"""Find betas in a few runs: halve 1 - beta2 until the loss falls no further, then try beta1 <
    sqrt(beta2).

    The search starts at (0.9, 0.9) and walks in factors of 2 of the memory horizon: up in beta2,
    then down and up in beta1. It repeats this over beta1 and beta2 while the loss falls, three
    times at most. A walk ends after two steps that do not lower the loss, and at beta1 =
    sqrt(beta2). Runs that are certain to fail are cut short.

    Args:
        source: as in `map_phases`: a Problem, a Trainer, a function train(settings, seed), a
            reference ("digits").
        store: file that keeps every finished run, as for maps; the same call resumes from it.
        workers: worker processes. None: one per core; 0: train in this process.
        changes: fields of the problem to replace after loading.
        watch: called with the progress after every finished run, instead of the bar.
        progress: whether to show the progress; by default in terminals and notebooks, after two
            seconds.
        how: arguments of `plan_for`: rule, lr, batch_size, steps, seeds.

    Returns:
        The best setting, all that were tried, and their cost.

    Raises:
        BadInput: the problem cannot be trained, the rule has no betas, or every setting diverged.

    Source: Y. Zhang et al., 2026, arXiv:2603.02092: raise beta2 as batches shrink, past its
    threshold, then tune beta1 < sqrt(beta2). The factors and the patience are our choice.

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
    expect(changes, (Mapping, type(None)), "changes", 'changes={"schedule": "constant"}')
    problem = as_problem(source)
    with ExitStack() as stack:
        bar = stack.enter_context(shown_progress("runs", progress))
        path = Path(store) if store is not None else temporary_store(stack)
        problem = _changed(problem, changes or {}, how.get("steps"))
        plan = plan_for(problem, *lattice_axes(problem), **how)
        leftovers = [path.parent] if store is None else []
        pool = Pool(problem, workers=workers, leftovers=leftovers)
        opened = stack.enter_context(store_of(problem, path))
        stack.enter_context(pool)
        choice = choose_engine(problem, plan, pool, plan.run((0, 0), 0), plan.seeds, opened.meta)
        scheduler = RunScheduler(plan, pool, opened, choice.engine, 1, watch or bar.watch)
        tuner = Tuner(problem, plan, scheduler)
        return _result(tuner, tuner.run(), choice.why_plain)


def _changed(
    problem: Problem | Trainer, changes: Mapping[str, Any], steps: int | None
) -> Problem | Trainer:
    """The problem with some fields replaced, checked; a Trainer as it is."""
    if not isinstance(problem, Problem):
        return problem
    problem = problem.with_(**changes, **({"steps": steps} if steps else {}))
    check(problem)
    return problem


def _result(tuner: Tuner, threshold: tuple[float, float] | None, why_plain: str) -> Tuned:
    plan = tuner.plan
    converged = [spot for spot in tuner.records if math.isfinite(tuner.loss(spot))]
    if not converged:
        raise _all_diverged(tuner.problem, plan, len(tuner.records))
    best = min(converged, key=tuner.loss)
    betas = plan.at(best)
    trials = [
        Trial(
            plan.x.values[i],
            plan.y.values[j],
            tuner.loss((i, j)),
            tuple(record.final for record in records),
        )
        for (i, j), records in tuner.records.items()
    ]
    return Tuned(
        problem=tuner.problem.name,
        beta1=betas["beta1"],
        beta2=betas["beta2"],
        loss=tuner.loss(best),
        threshold=threshold,
        trials=tuple(trials),
        trainings=sum(len(records) for records in tuner.records.values()),
        grid=DENSE_MAP_RUNS,
        initial=tuner.initial,
        fixed=plan.fixed,
        why_plain=why_plain,
    )


def _all_diverged(problem: Problem | Trainer, plan: Plan, settings: int) -> BadInput:
    return BadInput(
        "Every setting diverged",
        value=settings,
        allowed="a learning rate at which some setting converges",
        where=f"problem {problem.name!r}, lr={plan.lr:g}",
        instead=f"lr={plan.lr / 10:g}",
    )


def _finite_or_none(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None

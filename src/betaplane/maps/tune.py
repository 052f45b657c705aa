"""Find a learning rate and betas in a few runs, and compare them with the default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from betaplane.errors import BadInput, expect, expect_function
from betaplane.executors import Backend, Gpus, backend_of
from betaplane.maps.engine import choose_engine
from betaplane.maps.grid import explicit
from betaplane.maps.ignored import ignored_text
from betaplane.maps.plan import Plan, default_values, plan_for
from betaplane.maps.progress import shown_progress
from betaplane.maps.resources import check_device, opened, reported
from betaplane.maps.scheduler import Progress, RunScheduler
from betaplane.maps.trials import Trials
from betaplane.maps.tune_search import (
    BETA1S,
    BETA2S,
    MAX_LR_STEPS,
    Comparison,
    Lattice,
    Search,
    reserved_runs,
)
from betaplane.maps.tuned import Trial, Tuned
from betaplane.maps.validation import check_resources, whole
from betaplane.problems import Problem, Trainer, check
from betaplane.problems.source import Source, as_problem

MAX_RUNS = 48
FRESH_SEEDS = 4
FEWEST_SEARCH_RUNS = 4  # the given learning rate, two others and another pair of betas


def tune(
    source: Source,
    *,
    max_runs: int = MAX_RUNS,
    store: str | Path | None = None,
    workers: int | None = None,
    executor: str | Backend | None = None,
    gpus: Gpus = None,
    per_gpu: int = 1,
    changes: Mapping[str, Any] | None = None,
    watch: Callable[[Progress], None] | None = None,
    progress: bool | None = None,
    **how: Any,
) -> Tuned:
    r"""Find a learning rate and betas in a few runs, and compare them with the default.

    The search starts at the default betas and the given learning rate, and tries factors of 3 of
    the learning rate as long as the loss falls. Then a Gaussian process over the logarithms of lr
    and of the horizons 1 / (1 - beta) chooses the most promising setting, until no setting could be
    better; all runs have the same seed. Its posterior mean chooses the best.

    The best, and the default betas at their best learning rate, are compared on fresh seeds with the
    default at the given learning rate. The default stays unless one of the two is likely to be
    better: its gain is at least 1%, and at least its standard error over the seeds. If both are,
    the one with the larger gain is the result. The reason states the 95% interval of the gain, and
    whether it lies above 0. No setting has beta1 >= sqrt(beta2).

    Args:
        source: as in `map_phases`: a Problem, a Trainer, a function train(settings, seed), a
            reference ("digits").
        max_runs: maximum number of runs, including those of the comparison.
        store: file that keeps every finished run, as for maps; the same call resumes from it.
        workers: worker processes. None: one per core; 0: train in this process.
        executor: where the runs execute, as in `map_phases`.
        gpus: GPUs of this machine, as in `map_phases`.
        per_gpu: runs at once on each GPU.
        changes: fields of the problem to replace after loading.
        watch: called with the progress after every finished run, instead of the bar.
        progress: whether to show the progress; by default in terminals and notebooks, after two
            seconds.
        how: arguments of `plan_for`: rule, lr, batch_size; steps, examples or tokens, the length of
            a run; search_lr=False to keep the given learning rate and try betas only; seeds: number
            of fresh seeds, 4 by default.

    Returns:
        The setting to use, its gain over the default with its interval, and all trials.

    Raises:
        BadInput: the problem cannot be trained, the rule has no betas, there are too few runs, or
            every setting diverged.

    Example:
        >>> def train(settings, seed):  # best at lr = 0.03, beta2 = 0.99
        ...     away = math.log10(settings["lr"] / 0.03) ** 2
        ...     away += math.log10((1 - settings["beta2"]) / 0.01) ** 2
        ...     return [1.0, min(0.01 + 0.1 * away, 1.0)]
        >>> found = tune(Trainer("mine", train, defaults={"lr": 0.01}), workers=0)
        >>> found.answer, found.beta2
        ('change lr and betas', 0.99)
    """
    check_resources(store, workers)
    if watch is not None:
        expect_function(watch, "watch", "watch=print", "tune", takes=1)
    expect(changes, (Mapping, type(None)), "changes", 'changes={"schedule": "constant"}')
    whole("max_runs", max_runs, MAX_RUNS)
    problem = as_problem(source)
    if isinstance(problem, Problem):
        problem = problem.with_(**(changes or {}))
    axes = explicit("beta1", list(BETA1S)), explicit("beta2", list(BETA2S))
    plan = plan_for(problem, *axes, **{"seeds": FRESH_SEEDS, **how})
    problem = _with_steps(problem, plan.steps)
    _check_counts(plan.seeds, max_runs)
    backend = backend_of(executor, workers, gpus, per_gpu)
    check_device(problem, plan.options.device, backend)
    with (
        shown_progress("runs", progress) as bar,
        opened(problem, store, backend) as (execution, runs, report),
    ):
        first = plan.run((0, 0), 0)
        choice = choose_engine(problem, plan, execution, first, plan.seeds, runs.meta)
        scheduler = RunScheduler(
            plan, execution, runs, choice.engine, 1, reported(report, watch or bar.watch)
        )
        trials = Trials(plan, scheduler)
        search = Search(trials, _lattice(problem, plan), max_runs, plan.seeds)
        comparison, names = search.run(), ("lr", "beta1", "beta2")
        ignored = ignored_text(problem, scheduler.known.values(), names)
        return _result(problem, plan, search, comparison, choice.why_plain, ignored)


def _lattice(problem: Problem | Trainer, plan: Plan) -> Lattice:
    unused_lr = isinstance(problem, Trainer) and not problem.uses_lr
    default = default_values(plan)
    reach = 0 if unused_lr or not plan.search_lr else MAX_LR_STEPS
    return Lattice.around(plan.lr, (default["beta1"], default["beta2"]), reach)


def _check_counts(seeds: int, max_runs: int) -> None:
    if seeds < 2:
        raise BadInput(
            "seeds is out of range",
            value=seeds,
            allowed="[2, 1000]: one seed gives no interval",
            where="seeds",
            instead=f"seeds={FRESH_SEEDS}",
        )
    fewest = reserved_runs(seeds) + FEWEST_SEARCH_RUNS
    if max_runs < fewest:
        raise BadInput(
            "max_runs is too small",
            value=max_runs,
            allowed=f"[{fewest}, inf) with {seeds} fresh seeds",
            where="max_runs",
            instead=f"max_runs={max(fewest, MAX_RUNS)}",
        )


def _with_steps(problem: Problem | Trainer, steps: int) -> Problem | Trainer:
    """The problem with the steps of a run, checked."""
    if isinstance(problem, Trainer):
        return problem.with_steps(steps)
    problem = problem.with_(steps=steps)
    check(problem)
    return problem


def _result(
    problem: Problem | Trainer,
    plan: Plan,
    search: Search,
    found: Comparison,
    why_plain: str,
    ignored: str,
) -> Tuned:
    lattice = search.lattice
    trials = [
        Trial(**lattice.at(cell), loss=_upper_median(runs.values()), finals=tuple(runs.values()))
        for cell, runs in search.losses.items()
    ]
    if not any(math.isfinite(final) for trial in trials for final in trial.finals):
        raise _all_diverged(problem, plan, len(trials))
    return Tuned(
        problem=problem.name,
        **lattice.at(found.cell),
        loss=_upper_median(found.finals),
        default=lattice.at(lattice.default(lattice.start)),
        best_default=lattice.at(found.best_default),
        gain=found.over_default,
        gain_at_best_lr=found.over_best_lr,
        trials=tuple(trials),
        trainings=sum(len(trial.finals) for trial in trials),
        initial=float(search.trials.initials([0])[0]),
        ends=tuple(lattice.ends(found.cell)),
        fixed={name: value for name, value in plan.fixed.items() if name != "lr"},
        why_plain=why_plain,
        ignored=ignored,
    )


def _all_diverged(problem: Problem | Trainer, plan: Plan, settings: int) -> BadInput:
    return BadInput(
        "Every setting diverged",
        value=settings,
        allowed="a learning rate at which some setting converges",
        where=f"problem {problem.name!r}, lr={plan.lr:g}",
        instead=f"lr={plan.lr / 10:g}",
    )


def _upper_median(finals: Any) -> float:
    ordered = sorted(math.inf if np.isnan(final) else final for final in finals)
    return float(ordered[len(ordered) // 2])

"""Prove that a stack trains a problem as the plain engine does, before the stack is used.

A recorded step repeats tensor operations, not Python. Therefore the plain engine first trains a few
short runs, and after each step everything is checked that a stack does not carry: Python state,
random numbers of Python and NumPy, writes, hooks. If none of it changes in a step, it cannot change
in a later step. Then a stack trains the same runs, and everything that it carries is compared.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.problems.in_memory import why_not_in_memory, with_few_rows, with_tensors
from betaplane.problems.problem import Problem
from betaplane.replicas.comparison import (
    LOSSES,
    FinalState,
    differing_values,
    is_rounding,
    values_beyond,
)
from betaplane.replicas.objective import examples_of
from betaplane.replicas.run import Options, Run
from betaplane.replicas.short_runs import (
    MIN_STEPS,
    Draws,
    NotProved,
    affordable_steps,
    run_plain,
    run_stacked,
)
from betaplane.text import setting_of

MAX_ERROR_RATIO = 10.0  # of a stack's rounding errors to the plain engine's

_reasons: weakref.WeakKeyDictionary[Problem, dict[tuple, str]] = weakref.WeakKeyDictionary()


class Differs(NotProved):
    """A stack gives other values; it may also be that the rounding errors of the run grow."""


def why_plain(problem: Problem, run: Run, options: Options) -> str:
    """Why a problem cannot be stacked, as a clause after "because"; "" if a stack is proved.

    Args:
        problem: the problem to train.
        run: one of its runs; a second run is derived from it.
        options: options of the runs; `compile` and `points` do not matter.
    """
    reasons = _reasons.setdefault(problem, {})
    of_run = type(run.rule), run.batch_size, tuple(name for name, _ in run.own)
    key = (*of_run, options.independent, options.device, options.judge)
    if key not in reasons:
        try:
            prove(problem, run, options)
            reasons[key] = ""
        except NotProved as reason:
            reasons[key] = str(reason)
    return reasons[key]


def prove(problem: Problem, run: Run, options: Options, replicas: int = 2) -> float:
    """Compare the engines; return the run-steps per second of a stack of replicas.

    Raises:
        NotProved: the problem cannot be stacked.
    """
    if problem.data is not None:
        problem = _of_loader(problem, run, options)
    if options.judge == "validation":
        raise NotProved("its runs are judged by held-out data")
    # the regret is computed from the losses that are compared
    run = replace(run, steps=None)
    judge = "gradient-norm" if options.judge == "gradient-norm" else "loss"
    options = replace(options, early_stop=False, compile=False, points=2, judge=judge)
    try:
        return _prove_stable(problem, run, options, replicas)
    except Draws:  # another thread may have drawn: a stack that draws does so again
        return _prove_stable(problem, run, options, replicas)


def _prove_stable(problem: Problem, run: Run, options: Options, replicas: int) -> float:
    try:
        return _prove(problem, _stable(run, 1.0), options, replicas)
    except Differs:
        return _prove(problem, _stable(run, 0.01), options, replicas)


def _of_loader(problem: Problem, run: Run, options: Options) -> Problem:
    """The problem with few rows, so that short runs have whole epochs and the short last batch."""
    if reason := why_not_in_memory(problem.data):
        raise NotProved(reason)
    if options.independent:
        raise NotProved("each run draws minibatches of its own from the loader")
    loader: Any = problem.data
    return problem.with_(data=with_few_rows(loader, run.batch_size))


def _stable(run: Run, lr_factor: float) -> Run:
    """The run at the rule's default hyperparameters; at others, such as beta2 = 0, rounding errors
    may grow step by step.
    """
    default = type(run.rule)()
    defaults = {name: getattr(default, name) for name in run.rule.hyperparameters()}
    lr = lr_factor * run.lr
    own = tuple((name, ({"lr": lr} | defaults)[setting_of(name)]) for name, _ in run.own)
    return replace(run, rule=replace(run.rule, **defaults), lr=lr, own=own)


def _prove(problem: Problem, run: Run, options: Options, replicas: int) -> float:
    short = problem.with_(steps=affordable_steps(problem.with_(steps=1), run, options))
    runs = [run, _varied(run)]
    plain = [run_plain(short, run, options) for run in runs]
    if values_beyond(plain[0], run_plain(short, run, options), 0.0):
        raise NotProved("two runs of one seed differ")
    run_plain(short.with_(steps=MIN_STEPS), replace(run, seed=run.seed + 1), options)
    stacked, rate = run_stacked(short, runs * max(1, replicas // 2), options)
    _compare(short, runs, options, plain, stacked)
    return rate


def _varied(run: Run) -> Run:
    """A run with half the learning rate and half the first hyperparameter, and a quarter of the
    settings of parameter groups, so that they differ from those of other groups.
    """
    name = next(iter(run.rule.hyperparameters()), None)
    rule = replace(run.rule, **{name: getattr(run.rule, name) / 2}) if name else run.rule
    own = tuple((name, value / 4) for name, value in run.own)
    return replace(run, rule=rule, lr=run.lr / 2, own=own)


def _compare(
    problem: Problem,
    runs: Sequence[Run],
    options: Options,
    plain: Sequence[FinalState],
    stacked: Sequence[FinalState],
) -> None:
    """Raise NotProved for a difference beyond rounding, which is measured in float64 if needed."""
    if any(p.generators.differences(s.generators) for p, s in zip(plain, stacked, strict=True)):
        raise Draws("a stack draws other random numbers")
    names = differing_values(plain, stacked, torch.float32)
    if not names:
        return
    reason = f"a stack reaches other values of {names[0]} in {problem.steps} steps"
    if plain[0].draws:  # in float64, other numbers would be drawn
        raise NotProved(reason)
    try:
        exact_problem = as_float64(problem)
        exact = [run_plain(exact_problem, run, options) for run in runs]
        if names[0] not in LOSSES and is_rounding(plain, stacked, exact, MAX_ERROR_RATIO):
            return
        exact_stacked, _ = run_stacked(exact_problem, runs, options)
    except Exception as error:
        raise Differs(reason) from error
    if differing_values(exact, exact_stacked, torch.float64) or not is_rounding(
        plain, stacked, exact, 10 * MAX_ERROR_RATIO
    ):
        raise Differs(reason)


def as_float64(problem: Problem) -> Problem:
    """The same problem in float64."""
    loss = problem.loss
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss).double()
    x, y = map(_as_float64, examples_of(problem))
    loader: Any = problem.data
    data = {"inputs": x, "targets": y} if loader is None else {"data": with_tensors(loader, x, y)}
    return problem.with_(module=lambda: problem.module().double(), loss=loss, **data)


def _as_float64(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor

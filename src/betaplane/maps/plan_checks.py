"""Checks of a plan: axes, counts, thresholds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from betaplane.errors import BadInput, unknown
from betaplane.maps.grid import BETAS, NAMES, is_of_group
from betaplane.maps.phase_map import Thresholds
from betaplane.problems import Problem, Trainer
from betaplane.replicas import JUDGES
from betaplane.replicas.held_out import check_held_out
from betaplane.replicas.judge import known_best
from betaplane.text import setting_of

if TYPE_CHECKING:
    from betaplane.maps.plan import Plan

SCORES = ("linear", "log")
MAX_SEEDS = 1000  # per cell; the interval of P(fail) is then 6% wide
MAX_DENSE_RUNS = 1_000_000  # listing more takes longer than seconds
EXAMPLE_COUNTS = {
    "seeds": 2,
    "boundary_seeds": 4,
    "steps": 1000,
    "examples": 100_000,
    "batch_size": 32,
    "trainings": 400,
}


def check_axes(plan: Plan) -> None:
    """Check that the rule or the problem has both hyperparameters."""
    in_rule = plan.rule.hyperparameters()
    allowed = [name for name in NAMES if name in {*in_rule, "lr", "batch_size"}]
    for argument, ax in {"x": plan.x, "y": plan.y}.items():
        is_own = plan.own_axes and ax.name not in NAMES
        if is_own or (is_of_group(ax.name) and setting_of(ax.name) in {*in_rule, "lr"}):
            continue
        if ax.name not in {*in_rule, "lr", "batch_size", *plan.problem_options}:
            raise BadInput(
                f"{type(plan.rule).__name__} has no {ax.name} to put on an axis",
                value=ax.name,
                allowed=", ".join(allowed),
                where=argument,
                instead='rule="adam"' if ax.name in BETAS else f'{argument}="lr"',
            )
    if plan.x.name == plan.y.name:
        raise BadInput(
            "Both axes are the same",
            value=plan.x.name,
            allowed="two different hyperparameters",
            where="x, y",
            instead=_two_axes(plan.x.name, allowed),
        )


def _two_axes(x: str, allowed: list[str]) -> str:
    """The arguments that keep x and put another hyperparameter on y."""
    first_choices = ("beta2", "beta1", "lr", "batch_size")
    y = next(name for name in first_choices if name in allowed and name != x)
    return f'x="{y}", y="{x}"' if (x, y) == ("beta2", "beta1") else f'x="{x}", y="{y}"'


def check_numbers(plan: Plan) -> None:
    """Check counts and the learning rate."""
    for name, example in EXAMPLE_COUNTS.items():
        value = getattr(plan, name)
        largest = MAX_SEEDS if name in ("seeds", "boundary_seeds") else math.inf
        if value is not None and not 1 <= value <= largest:
            allowed = f"[1, {largest}]" if largest < math.inf else "[1, inf)"
            raise _out_of_range(name, value, allowed, example)
    if not 0 < plan.lr < math.inf:
        raise _out_of_range("lr", plan.lr, "(0, inf)", 0.001)


def _out_of_range(name: str, value: float, allowed: str, example: float) -> BadInput:
    return BadInput(
        f"{name} is out of range",
        value=value,
        allowed=allowed,
        where=name,
        instead=f"{name}={example}",
    )


def check_dense(plan: Plan) -> None:
    """Check that a dense map is affordable."""
    runs = plan.shape[0] * plan.shape[1] * plan.seeds
    if plan.dense and runs > MAX_DENSE_RUNS:
        raise BadInput(
            "A dense map trains every cell with every seed",
            value=runs,
            allowed=f"at most {MAX_DENSE_RUNS:,} runs",
            where="points, seeds",
            instead="points=64, seeds=2",
        )
    if plan.dense and plan.trainings is not None and plan.trainings < runs:
        raise BadInput(
            "A dense map trains every cell with every seed",
            value=plan.trainings,
            allowed=f"[{runs}, inf)",
            where="trainings",
            instead=f"trainings={runs}",
        )


def check_judge(plan: Plan, problem: Problem | Trainer) -> None:
    """Check that the judge exists, and can be computed for this problem."""
    judge = plan.options.judge
    if judge not in JUDGES:
        raise unknown("judge", judge, JUDGES, where="judge", instead='judge="{}"')
    has_gradient = isinstance(problem, Problem) and problem.data is None
    if judge == "gradient-norm" and not has_gradient:
        raise BadInput(
            "The norm of the gradient needs a problem with tensors in memory",
            value=problem.name,
            allowed="loss, regret",
            where="judge",
            instead='judge="regret"',
        )
    if judge == "validation" and isinstance(problem, Problem):
        check_held_out(problem)


def check_score(plan: Plan, problem: Problem | Trainer) -> None:
    """Check that the scale of scores exists, and that the lowest possible loss is known to it."""
    if plan.score not in SCORES:
        raise unknown("score", plan.score, SCORES, where="score", instead='score="{}"')
    if plan.score == "log" and known_best(problem.best, plan.options.judge) is None:
        raise BadInput(
            "A score on a log scale needs the lowest possible loss, and it is not known",
            value=problem.name,
            allowed="a problem with `best`, such as best=0.0",
            where="score",
            instead='score="linear"',
        )


def check_thresholds(thresholds: Thresholds) -> None:
    """Check the order of the thresholds."""
    if not 0 < thresholds.good <= thresholds.failing:
        raise BadInput(
            "The thresholds are not in order",
            value=(thresholds.good, thresholds.failing),
            allowed="0 < good <= failing",
            where="thresholds",
            instead="thresholds=Thresholds(good=0.05, failing=0.5)",
        )

"""The plan of a map: its axes, the fixed hyperparameters, and how often and how long each cell is
trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, Literal

from betaplane.cached import cached_property
from betaplane.maps.grid import Axis, Scale
from betaplane.maps.phase_map import Spot, Thresholds
from betaplane.maps.plan_axes import Along, AxisNames, axis_along
from betaplane.maps.plan_checks import (
    check_axes,
    check_dense,
    check_judge,
    check_numbers,
    check_score,
    check_thresholds,
)
from betaplane.maps.run_length import examples_per_run
from betaplane.maps.store.run_record import run_key
from betaplane.maps.validation import checked, grid_points
from betaplane.problems import Problem, Trainer
from betaplane.problems.family import numeric_options, variant
from betaplane.replicas import Options, Run
from betaplane.replicas.objective import problem_of
from betaplane.replicas.param_groups import check_groups
from betaplane.rules import Adam, Rule

DERIVED = ("x", "y", "own_axes", "one_seed")  # fields that are no keyword arguments of a map


@dataclass(frozen=True)
class Plan:
    """Everything that decides which runs a map consists of."""

    x: Axis
    y: Axis
    lr: float
    batch_size: int
    steps: int
    rule: Rule = field(default_factory=Adam)  # its hyperparameters that no axis varies
    seeds: int = 2  # runs per cell
    boundary_seeds: int = 4  # runs per cell next to a change of verdict
    dense: bool = False  # train every cell
    search_lr: bool = True  # try other learning rates before recommending a setting
    trainings: int | None = None  # maximum number of runs
    seconds: float | None = None  # time limit
    thresholds: Thresholds = Thresholds()
    options: Options = field(default_factory=Options)
    engine: str = "auto"
    # examples per run, if runs of all batch sizes see as many; `steps` is then that of `batch_size`
    examples: int | None = None
    own_axes: bool = False  # axes may be hyperparameters of the user's own
    one_seed: bool = False  # every seed gives the same run: see `with_one_seed`
    # of the lowest loss that is known to be possible: "linear", or "log" for its decades
    score: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        check_axes(self)
        check_numbers(self)
        check_dense(self)
        check_thresholds(self.thresholds)

    @cached_property
    def problem_options(self) -> tuple[str, ...]:
        """The axes that are options of the problem."""
        return tuple(axis.name for axis in (self.x, self.y) if axis.of_problem)

    @cached_property
    def divides(self) -> tuple[int, ...]:
        """The axes between whose values losses cannot be compared: batch size, problem's options."""
        return tuple(
            k for k, ax in enumerate((self.x, self.y)) if ax.of_problem or ax.name == "batch_size"
        )

    def group(self, spot: Spot) -> tuple[float, ...]:
        """The values at a cell of the axes that divide the map; see `divides`."""
        return tuple((self.x, self.y)[k].values[spot[k]] for k in self.divides)

    @property
    def run_options(self) -> Options:
        """The options of training, with the settings that must have an effect."""
        return replace(self.options, varied=(self.x.name, self.y.name))

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y."""
        return len(self.x), len(self.y)

    def at(self, spot: Spot) -> dict[str, float]:
        """The values of the two axes at a cell."""
        return {self.x.name: self.x.values[spot[0]], self.y.name: self.y.values[spot[1]]}

    def run(self, spot: Spot, seed: int) -> Run:
        """The run of a cell with a seed."""
        return self.run_with(self.at(spot), seed)

    def run_with(self, values: Mapping[str, float], seed: int) -> Run:
        """The run with other values of some hyperparameters, lr or batch_size."""
        hyperparameters = self.rule.hyperparameters()
        in_rule = {name: value for name, value in values.items() if name in hyperparameters}
        batch_size = int(values.get("batch_size", self.batch_size))
        lr = values.get("lr", self.lr)
        of_problem = {name: values[name] for name in self.problem_options if name in values}
        rest = values.keys() - {*in_rule, *of_problem, "lr", "batch_size"}
        variant, own = _pairs(of_problem), _pairs({name: values[name] for name in rest})
        rule, steps = replace(self.rule, **in_rule), self._steps(batch_size)
        return Run(rule, lr, batch_size, seed, variant, own, steps)

    def _steps(self, batch_size: int) -> int | None:
        """The steps of a run, if they depend on its batch size."""
        return None if self.examples is None else max(1, round(self.examples / batch_size))

    def settings(self, spot: Spot) -> dict[str, float]:
        """All hyperparameters of a cell, by name."""
        run = self.run(spot, 0)
        in_rule = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
        more = dict(run.variant + run.own)
        return {**in_rule, "lr": run.lr, "batch_size": run.batch_size, **more}

    def key(self, run: Run) -> str:
        """The key of a run in the store; equal runs of different maps have equal keys."""
        names = ("points", "early_stop", "independent")
        options = {name: getattr(self.options, name) for name in names}
        if self.options.judge != "loss":
            options["judge"] = self.options.judge
        return run_key(run_settings(run), run.seed, run.steps or self.steps, **options)

    def with_one_seed(self) -> Plan:
        """The plan for runs that do not depend on their seed: one run per cell."""
        return replace(self, seeds=1, boundary_seeds=1, one_seed=True)

    @property
    def fixed(self) -> dict[str, float]:
        """The hyperparameters that no axis varies."""
        varied = (self.x.name, self.y.name)
        settings = self.settings((0, 0))
        return {name: value for name, value in settings.items() if name not in varied}


def plan_for(
    problem: Problem | Trainer,
    x: Along = "beta1",
    y: Along = "beta2",
    points: int | tuple[int, int] = 24,
    scale: Scale = "log",
    **how: Any,
) -> Plan:
    """A plan for a problem; what is not given is taken from the problem.

    Args:
        problem: gives the default learning rate, batch size and number of steps.
        x: a name, (name, low, high) with None for the default end, (name, low, high, scale), or an
            Axis.
        y: in the same form.
        points: cells along each axis that is not an Axis, or (along x, along y).
        scale: "log" or "linear", of the axes that give none.
        how: fields of `Plan`; `judge`, a field of its options; `budget`, such as "20m", instead of
            `seconds`; hyperparameters of the rule (beta1=0.8). A rule is anything that
            `betaplane.optim.as_rule` accepts: "adamw", "adam:debias=none", betaplane.AdamW, ...

    Raises:
        BadInput: a name is unknown, or a value is of the wrong type or out of range.
    """
    judge = how.pop("judge", None)
    names = [f.name for f in fields(Plan) if f.name not in DERIVED]
    how = checked(how, [*names, "tokens"])
    how["examples"] = examples_per_run(problem, how)
    defaults: dict[str, Any] = {"lr": how["rule"].lr, "batch_size": 1, "steps": 1}
    if isinstance(problem, Problem):
        defaults = {name: getattr(problem, name) for name in defaults}
    else:
        defaults |= {name: value for name, value in problem.defaults.items() if name in defaults}
    if how["examples"] is not None:
        size = how.get("batch_size", defaults["batch_size"])
        how["steps"] = max(1, round(how["examples"] / size))
    nx, ny = grid_points(points)
    options, own = numeric_options(problem), isinstance(problem, Trainer)
    kind = AxisNames(options, own, (*how["rule"].hyperparameters(), "lr"))
    axes = axis_along(x, nx, "x", scale, kind), axis_along(y, ny, "y", scale, kind)
    if judge is not None:
        how["options"] = replace(how.get("options", Options()), judge=judge)
    plan = Plan(*axes, **{**defaults, **how}, own_axes=own)
    check_judge(plan, problem)
    check_score(plan, problem)
    if isinstance(problem, Trainer):
        _check_command(problem, plan, how)
    else:  # raises if the values do not fit the problem
        for spot in product((0, len(plan.x) - 1), (0, len(plan.y) - 1)):
            variant(problem, dict(plan.run(spot, 0).variant))
        sizes = [int(ax.values[-1]) for ax in (plan.x, plan.y) if ax.name == "batch_size"]
        problem.with_(lr=plan.lr, batch_size=max(sizes, default=plan.batch_size), steps=plan.steps)
        for spot in ((0, 0), (len(plan.x) - 1, len(plan.y) - 1)):
            run = plan.run(spot, 0)
            check_groups(problem_of(problem, run), run)
    return plan


def _pairs(values: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(values.items()))


def _check_command(trainer: Trainer, plan: Plan, given: Mapping[str, Any]) -> None:
    """Check that a command mentions what the plan varies, and what was given."""
    if trainer.command is None:
        return
    default = type(plan.rule)()
    names = plan.rule.hyperparameters()
    changed = [name for name in names if getattr(plan.rule, name) != getattr(default, name)]
    axes = [plan.x.name, plan.y.name]
    used = [*axes, *changed, *(name for name in ("lr", "batch_size", "steps") if name in given)]
    known = [*names, "lr", "batch_size", *axes, *(["steps"] if "steps" in used else [])]
    trainer.command.check_settings(list(dict.fromkeys(known)), list(dict.fromkeys(used)))


def run_settings(run: Run) -> dict[str, Any]:
    """A run's rule, options and hyperparameters as plain values, for the store."""
    of_problem = {"problem": dict(run.variant)} if run.variant else {}
    return {
        **of_problem,
        "rule": type(run.rule).__name__,
        **run.rule.options(),
        "lr": run.lr,
        "batch_size": run.batch_size,
        **dict(run.own),
    }


def default_values(plan: Plan) -> dict[str, float]:
    """The rule's default values of what the axes vary, without lr; empty if there is none, or the
    batch size, the problem or a hyperparameter of the user's own varies: such settings are not
    compared.
    """
    names = (plan.x.name, plan.y.name)
    if "batch_size" in names or plan.problem_options:
        return {}
    default = type(plan.rule)()
    if not all(name == "lr" or hasattr(default, name) for name in names):
        return {}
    return {name: float(getattr(default, name)) for name in names if name != "lr"}


def common_settings(fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings marked on every map: torch's defaults, and most language models' betas."""
    pairs = {
        "(0.9, 0.999) torch's default": (0.9, 0.999),
        "(0.9, 0.95) language models": (0.9, 0.95),
    }
    return {label: {**fixed, "beta1": b1, "beta2": b2} for label, (b1, b2) in pairs.items()}

"""The plan of a map: its axes, the fixed hyperparameters, and how often and how long each cell is
trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.grid import BETAS, NAMES, Axis, Scale, axis
from betaplane.maps.phase_map import Spot, Thresholds
from betaplane.maps.store.run_record import run_key
from betaplane.maps.validation import axis_range, checked, grid_points
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options, Run
from betaplane.rules import Adam, Rule


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

    def __post_init__(self) -> None:
        _check_axes(self)
        _check_numbers(self)
        _check_dense(self)
        _check_thresholds(self.thresholds)

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
        return Run(replace(self.rule, **in_rule), values.get("lr", self.lr), batch_size, seed)

    def settings(self, spot: Spot) -> dict[str, float]:
        """All hyperparameters of a cell, by name."""
        run = self.run(spot, 0)
        in_rule = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
        return {**in_rule, "lr": run.lr, "batch_size": run.batch_size}

    def key(self, run: Run) -> str:
        """The key of a run in the store; equal runs of different maps have equal keys."""
        names = ("points", "early_stop", "independent")
        options = {name: getattr(self.options, name) for name in names}
        return run_key(run_settings(run), run.seed, self.steps, **options)

    @property
    def fixed(self) -> dict[str, float]:
        """The hyperparameters that no axis varies."""
        varied = (self.x.name, self.y.name)
        settings = self.settings((0, 0))
        return {name: value for name, value in settings.items() if name not in varied}


MAX_SEEDS = 1000  # per cell; the interval of P(fail) is then 6% wide
MAX_DENSE_RUNS = 1_000_000  # listing more takes longer than seconds
EXAMPLE_COUNTS = {
    "seeds": 2,
    "boundary_seeds": 4,
    "steps": 1000,
    "batch_size": 32,
    "trainings": 400,
}
# The accepted forms of an axis
Along = (
    str
    | Axis
    | tuple[str, float | None, float | None]
    | tuple[str, float | None, float | None, Scale | None]
)

DEFAULT_RANGES = {
    "beta1": (0.0, 0.99),
    "beta2": (0.0, 0.9999),
    "lr": (1e-4, 1e-1),
    "eps": (1e-12, 1e-1),
    "batch_size": (4, 256),
    "weight_decay": (1e-4, 1.0),
}


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
        how: fields of `Plan`; `budget`, such as "20m", instead of `seconds`; hyperparameters of the
            rule (beta1=0.8). A rule is anything that `betaplane.optim.as_rule` accepts: "adamw",
            "adam:debias=none", betaplane.AdamW, ...

    Raises:
        BadInput: a name is unknown, or a value is of the wrong type or out of range.
    """
    how = checked(how, [f.name for f in fields(Plan) if f.name not in ("x", "y")])
    defaults: dict[str, Any] = {"lr": how["rule"].lr, "batch_size": 1, "steps": 1}
    if isinstance(problem, Problem):
        defaults = {name: getattr(problem, name) for name in defaults}
    else:
        defaults |= {name: value for name, value in problem.defaults.items() if name in defaults}
    nx, ny = grid_points(points)
    plan = Plan(_axis(x, nx, "x", scale), _axis(y, ny, "y", scale), **{**defaults, **how})
    if isinstance(problem, Problem):  # raises if the values do not fit the problem
        sizes = [int(ax.values[-1]) for ax in (plan.x, plan.y) if ax.name == "batch_size"]
        problem.with_(lr=plan.lr, batch_size=max(sizes, default=plan.batch_size), steps=plan.steps)
    return plan


def _axis(along: Along, points: int, argument: str, scale: Scale) -> Axis:
    if isinstance(along, Axis):
        return along
    name, low, high, own_scale = axis_range(along, argument)
    default_low, default_high = DEFAULT_RANGES.get(name, (0.0, 1.0))
    low = default_low if low is None else low
    high = default_high if high is None else high
    return axis(name, low, high, points, scale=own_scale or scale, argument=argument)


def run_settings(run: Run) -> dict[str, Any]:
    """A run's rule, options and hyperparameters as plain values, for the store."""
    return {
        "rule": type(run.rule).__name__,
        **run.rule.options(),
        "lr": run.lr,
        "batch_size": run.batch_size,
    }


def default_values(plan: Plan) -> dict[str, float]:
    """The rule's default values of what the axes vary, without lr; empty if there is none, or the
    batch size varies: settings for other batch sizes are not compared.
    """
    names = (plan.x.name, plan.y.name)
    if "batch_size" in names:
        return {}
    default = type(plan.rule)()
    return {name: float(getattr(default, name)) for name in names if name != "lr"}


def common_settings(fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings marked on every map: torch's defaults, and the betas of most language-model
    recipes.
    """
    pairs = {
        "(0.9, 0.999) torch's default": (0.9, 0.999),
        "(0.9, 0.95) language models": (0.9, 0.95),
    }
    return {label: {**fixed, "beta1": b1, "beta2": b2} for label, (b1, b2) in pairs.items()}


def _check_axes(plan: Plan) -> None:
    rule_fields = {f.name for f in fields(plan.rule)}
    allowed = [name for name in NAMES if name in {*rule_fields, "lr", "batch_size"}]
    for argument, ax in {"x": plan.x, "y": plan.y}.items():
        if ax.name not in rule_fields and ax.name not in ("lr", "batch_size"):
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


def _check_numbers(plan: Plan) -> None:
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


def _check_dense(plan: Plan) -> None:
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


def _check_thresholds(thresholds: Thresholds) -> None:
    if not 0 < thresholds.good <= thresholds.failing:
        raise BadInput(
            "The thresholds are not in order",
            value=(thresholds.good, thresholds.failing),
            allowed="0 < good <= failing",
            where="thresholds",
            instead="thresholds=Thresholds(good=0.05, failing=0.5)",
        )

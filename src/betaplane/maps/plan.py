"""What a map is to show: its axes, what is held fixed, how often and how long each cell is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.grid import BETAS, NAMES, Axis, axis
from betaplane.maps.phase_map import Spot, Thresholds
from betaplane.maps.store.run_record import run_key
from betaplane.maps.validation import axis_range, checked, grid_points
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Options, Run
from betaplane.rules import Adam, Rule


@dataclass(frozen=True)
class Plan:
    """Everything that decides which trainings a map consists of."""

    x: Axis
    y: Axis
    lr: float
    batch_size: int
    steps: int
    rule: Rule = field(default_factory=Adam)  # its hyperparameters where no axis varies them
    seeds: int = 2  # trainings of every cell
    boundary_seeds: int = 4  # trainings of cells next to a change of verdict
    dense: bool = False  # train every cell
    trainings: int | None = None  # stop after so many
    seconds: float | None = None  # stop after so long
    thresholds: Thresholds = Thresholds()
    options: Options = field(default_factory=Options)
    engine: str = "auto"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y."""
        return len(self.x), len(self.y)

    def at(self, spot: Spot) -> dict[str, float]:
        """The values of the two axes at a spot."""
        return {self.x.name: self.x.values[spot[0]], self.y.name: self.y.values[spot[1]]}

    def run(self, spot: Spot, seed: int) -> Run:
        """The training of a spot with a seed."""
        values = self.at(spot)
        ours = {
            name: value for name, value in values.items() if name in self.rule.hyperparameters()
        }
        batch = int(values.get("batch_size", self.batch_size))
        return Run(replace(self.rule, **ours), values.get("lr", self.lr), batch, seed)

    def settings(self, spot: Spot) -> dict[str, float]:
        """All hyperparameters of a spot, by name."""
        run = self.run(spot, 0)
        numbers = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
        return {**numbers, "lr": run.lr, "batch_size": run.batch_size}

    def key(self, spot: Spot, seed: int) -> str:
        """What the training is called in the store: equal for equal trainings, whatever the map
        around them.
        """
        how = {
            name: getattr(self.options, name) for name in ("points", "early_stop", "independent")
        }
        return run_key(run_settings(self.run(spot, seed)), seed, self.steps, **how)

    @property
    def fixed(self) -> dict[str, float]:
        """The hyperparameters no axis varies."""
        every = self.settings((0, 0))
        return {
            name: value for name, value in every.items() if name not in (self.x.name, self.y.name)
        }


MOST_SEEDS = 1000  # of a cell; its interval of P(fail) is then 6 % wide
MOST_TRAININGS = 1_000_000  # of a dense map: more could not even be listed in seconds
Along = str | Axis | tuple[str, float | None, float | None]  # what people say of an axis

RANGES = {
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
    **how: Any,
) -> Plan:
    """A plan for a problem: axes from what people say of them, the rest from the problem where it
    is left out.

    Args:
        problem: gives the learning rate, batch size and number of steps that `how` leaves out.
        x: a name, (name, low, high) with None for the usual end, or an Axis.
        y: likewise.
        points: cells along each axis that is not an Axis, or (along x, along y).
        how: fields of `Plan`; `budget`, as "20m", in place of `seconds`; hyperparameters of the rule (beta1=0.8). A
            rule is whatever `betaplane.optim.as_rule` takes: "adamw", "adam:debias=none",
            betaplane.AdamW, ...

    Raises:
        BadInput: a name is unknown, or a value is of the wrong kind or out of range.
    """
    how = checked(how, [each.name for each in fields(Plan) if each.name not in ("x", "y")])
    usual: dict[str, Any] = {"lr": how["rule"].lr, "batch_size": 1, "steps": 1}
    if isinstance(problem, Problem):
        usual = {name: getattr(problem, name) for name in usual}
    else:
        usual |= {name: value for name, value in problem.defaults.items() if name in usual}
    nx, ny = grid_points(points)
    plan = Plan(_axis(x, nx, "x"), _axis(y, ny, "y"), **{**usual, **how})
    if isinstance(problem, Problem):  # says so where they do not fit
        sizes = [int(ax.values[-1]) for ax in (plan.x, plan.y) if ax.name == "batch_size"]
        problem.with_(lr=plan.lr, batch_size=max(sizes, default=plan.batch_size), steps=plan.steps)
    return plan


def _axis(along: Along, points: int, which: str) -> Axis:
    if isinstance(along, Axis):
        return along
    name, low, high = axis_range(along, which)
    usual = RANGES.get(name, (0.0, 1.0))
    return axis(name, usual[0] if low is None else low, usual[1] if high is None else high, points)


def run_settings(run: Run) -> dict[str, Any]:
    """A run's rule and what it says of itself as plain values, for the store."""
    return {
        "rule": type(run.rule).__name__,
        **run.rule.said(),
        "lr": run.lr,
        "batch_size": run.batch_size,
    }


def usual_settings(fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings marked on every map: torch's defaults, and the betas of most language-model
    recipes.
    """
    pairs = {
        "(0.9, 0.999) torch's default": (0.9, 0.999),
        "(0.9, 0.95) language models": (0.9, 0.95),
    }
    return {label: {**fixed, "beta1": b1, "beta2": b2} for label, (b1, b2) in pairs.items()}


def _check(plan: Plan) -> None:
    own = {f.name for f in fields(plan.rule)}
    for ax in (plan.x, plan.y):
        if ax.name not in own and ax.name not in ("lr", "batch_size"):
            raise BadInput(
                f"{type(plan.rule).__name__} has no {ax.name} to put on an axis",
                value=ax.name,
                allowed=", ".join(name for name in NAMES if name in {*own, "lr", "batch_size"}),
                where="the axes",
                instead="--rule adam" if ax.name in BETAS else "--x lr",
            )
    if plan.x.name == plan.y.name:
        raise BadInput(
            "Both axes are the same",
            value=plan.x.name,
            where="the axes",
            instead="--x beta1 --y beta2",
        )
    for name, usual in {
        "seeds": 2,
        "boundary_seeds": 4,
        "steps": 1000,
        "batch_size": 32,
        "trainings": 400,
    }.items():
        value = getattr(plan, name)
        most = MOST_SEEDS if name in ("seeds", "boundary_seeds") else math.inf
        if value is not None and not 1 <= value <= most:
            raise _out_of_range(
                name, value, f"[1, {most}]" if most < math.inf else "[1, inf)", usual
            )
    if not 0 < plan.lr < math.inf:
        raise _out_of_range("lr", plan.lr, "(0, inf)", 0.001)
    whole = plan.shape[0] * plan.shape[1] * plan.seeds
    if plan.dense and whole > MOST_TRAININGS:
        raise BadInput(
            "A dense map trains every cell with every seed",
            value=whole,
            allowed=f"at most {MOST_TRAININGS:,} trainings",
            where="--points, --seeds",
            instead="--points 64 --seeds 2  # or leave --dense out",
        )
    if plan.dense and plan.trainings is not None and plan.trainings < whole:
        raise BadInput(
            "A dense map trains every cell with every seed",
            value=plan.trainings,
            allowed=f"[{whole}, inf)",
            where="--trainings",
            instead="--budget 20m  # or leave --dense out",
        )
    if not 0 < plan.thresholds.good <= plan.thresholds.failing:
        raise BadInput(
            "The thresholds are not in order",
            value=(plan.thresholds.good, plan.thresholds.failing),
            allowed="0 < good <= failing",
            where="--good, --failing",
            instead="--good 0.05 --failing 0.5",
        )


def _out_of_range(name: str, value: float, allowed: str, usual: float) -> BadInput:
    option = f"--{name.replace('_', '-')}"
    return BadInput(
        f"{name} is out of range",
        value=value,
        allowed=allowed,
        where=option,
        instead=f"{option} {usual}",
    )

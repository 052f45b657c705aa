"""What a map is to show: its axes, what is held fixed, how often and how long each cell is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.grid import BETAS, Axis
from betaplane.maps.phase_map import Spot, Thresholds
from betaplane.maps.store import run_key
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
    options: Options = Options()
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
        ours = {name: value for name, value in values.items() if name in self.rule.hyperparameters()}
        batch = int(values.get("batch_size", self.batch_size))
        return Run(replace(self.rule, **ours), values.get("lr", self.lr), batch, seed)

    def settings(self, spot: Spot) -> dict[str, Any]:
        """All hyperparameters of a spot, by name."""
        return run_settings(self.run(spot, 0))

    def key(self, spot: Spot, seed: int) -> str:
        """What the training is called in the store: equal for equal trainings, whatever the map around them."""
        how = {name: getattr(self.options, name) for name in ("points", "early_stop", "independent")}
        return run_key(self.settings(spot), seed, self.steps, **how)

    @property
    def fixed(self) -> dict[str, Any]:
        """The hyperparameters no axis varies."""
        every = self.settings((0, 0))
        return {name: value for name, value in every.items() if name not in (self.x.name, self.y.name, "rule")}


def run_settings(run: Run) -> dict[str, Any]:
    """A run's rule and hyperparameters as plain values, for the store and for people."""
    return {"rule": type(run.rule).__name__, **asdict(run.rule), "lr": run.lr, "batch_size": run.batch_size}


def usual_settings(fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings marked on every map: torch's defaults, and the betas of most language-model recipes."""
    pairs = {"(0.9, 0.999) torch's default": (0.9, 0.999), "(0.9, 0.95) language models": (0.9, 0.95)}
    return {label: {**fixed, "beta1": b1, "beta2": b2} for label, (b1, b2) in pairs.items()}


def _check(plan: Plan) -> None:
    own = {f.name for f in fields(plan.rule)}
    for ax in (plan.x, plan.y):
        if ax.name not in own and ax.name not in ("lr", "batch_size"):
            raise BadInput(
                f"{type(plan.rule).__name__} has no {ax.name} to put on an axis",
                value=ax.name,
                allowed=", ".join([*plan.rule.hyperparameters(), "lr", "batch_size"]),
                where="the axes",
                instead="--rule adam" if ax.name in BETAS else "--x lr",
            )
    if plan.x.name == plan.y.name:
        raise BadInput("Both axes are the same", value=plan.x.name, where="the axes", instead="--x beta1 --y beta2")
    for name, low in (("seeds", 1), ("boundary_seeds", 1), ("steps", 1)):
        if getattr(plan, name) < low:
            raise BadInput(f"{name} is out of range", value=getattr(plan, name), allowed=f"[{low}, inf)", instead=f"{name}=2")
    if plan.trainings is not None and plan.trainings < 1:
        raise BadInput("trainings is out of range", value=plan.trainings, allowed="[1, inf)", instead="trainings=400")
    if not 0 < plan.thresholds.good <= plan.thresholds.failing:
        raise BadInput(
            "The thresholds are not in order",
            value=(plan.thresholds.good, plan.thresholds.failing),
            allowed="0 < good <= failing",
            instead="--good 0.05 --failing 0.5",
        )

"""A run, its options and its outcome; the loss curve and the rule for stopping early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from betaplane.optim.as_rule import as_rule
from betaplane.replicas.judge import Judge, final_value
from betaplane.rules._rule import Rule


@dataclass(frozen=True)
class Run:
    """The settings of one run of a problem: everything that may differ between the cells of a
    map.
    """

    rule: Rule  # hyperparameters as floats
    lr: float  # peak learning rate
    batch_size: int
    seed: int  # determines initialization, minibatch order and dropout
    # options of a built-in problem that differ from the given problem's, such as (("n", 20),)
    variant: tuple[tuple[str, float], ...] = ()
    # hyperparameters of the user's own, and those of parameter groups ("embedding.beta2"), by name
    own: tuple[tuple[str, float], ...] = ()
    steps: int | None = None  # if they differ from the problem's

    def __post_init__(self) -> None:
        """Look up a rule by name; set the peak of lr in rules with a decay relative to it."""
        object.__setattr__(self, "rule", with_peak(as_rule(self.rule), self.lr))


def with_peak(rule: Rule, lr: float) -> Rule:
    """The rule with the peak of lr, if its decay is relative to it and none is given."""
    if getattr(rule, "reads_peak", False) and getattr(rule, "peak_lr", 0.0) is None:
        # peak_lr is a field of these rules
        return replace(rule, peak_lr=lr)  # pyright: ignore[reportCallIssue]
    return rule


def run_values(run: Run) -> dict[str, float]:
    """The settings of a run, by name, as the user's code receives them."""
    values = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
    return values | {"lr": run.lr, "batch_size": run.batch_size, **dict(run.own)}


@dataclass(frozen=True)
class Options:
    """Options of training, the same for all runs of a map."""

    points: int = 100  # points of a loss curve
    early_stop: bool = True  # end a run when its verdict is certain
    # each run has its own initialization and minibatch order: by its seed and its settings, or, if
    # "paired", by its seed, so that settings can be compared seed by seed
    independent: bool | Literal["paired"] = False
    compile: bool = False  # compile the stacked step (needs a C++ compiler, takes about 10 s)
    device: str = "cpu"
    varied: tuple[str, ...] = ()  # settings that must have an effect on a training function
    judge: Judge = "loss"  # what a run is judged by: see `judge.NAMES`

    @property
    def stops_early(self) -> bool:
        """Whether a run ends when its verdict is certain: only a loss is certain before the end."""
        return self.early_stop and self.judge == "loss"


@dataclass(frozen=True)
class Outcome:
    """The result of one run."""

    initial: float  # loss at the initialization
    # float32 (points,), loss after each window of steps; shorter if the run ended early
    curve: np.ndarray = field(repr=False)
    whole: bool  # the curve has all its points
    seconds: float  # time, divided by the number of runs that were trained together
    judge: Judge = "loss"  # what the initial value and the curve are
    failure: Mapping[str, Any] | None = None  # how a command failed: reason, stderr
    # float32, the held-out loss or metric along the run; None if it is not measured beside the loss
    held_out: np.ndarray | None = field(default=None, repr=False)

    @property
    def final(self) -> float:
        """The value by which the run is judged; see `final_value`."""
        return final_value(self.curve, self.judge)


def windows(steps: int, points: int) -> list[int]:
    """The number of steps per point of the curve: equal windows; the last may be shorter.

    There are `points` windows, or fewer if `points` does not divide `steps`.

    Args:
        steps: steps per run, >= 1.
        points: points of the curve, >= 1.

    Example:
        >>> windows(10, 4)
        [3, 3, 3, 1]
    """
    length = -(-steps // points)
    whole, rest = divmod(steps, length)
    return [length] * whole + [rest] * (rest > 0)


def certainly_failing(curves: np.ndarray, initial: np.ndarray, points: int) -> np.ndarray:
    """The runs that certainly fail: bool (R,).

    A run certainly fails if its last point is not finite, or if at least half of it is done and
    every point of the last quarter is above the initial loss.

    Args:
        curves: (R, k), the first k points of each curve.
        initial: (R,), the loss at the initialization.
        points: number of points of a whole curve.
    """
    failing = ~np.isfinite(curves[:, -1])
    done, quarter = curves.shape[1], max(1, points // 4)
    if 2 * done >= points:
        with np.errstate(invalid="ignore"):
            failing |= (curves[:, -quarter:] > initial[:, None]).all(axis=1)
    return failing

"""One training and what it showed; the part of the loss curve that verdicts are read from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from betaplane.optim.as_rule import as_rule
from betaplane.rules._rule import Rule


@dataclass(frozen=True)
class Run:
    """One training of a problem: everything that may differ between the cells of a map."""

    rule: Rule  # hyperparameters as floats
    lr: float  # peak learning rate
    batch_size: int
    seed: int  # fixes initialisation, minibatch order and dropout

    def __post_init__(self) -> None:
        """Take a rule by name, too, and let a decay that is relative to the peak of lr know that
        peak.
        """
        rule = as_rule(self.rule)
        if getattr(rule, "reads_peak", False) and getattr(rule, "peak_lr", 0.0) is None:
            rule = replace(rule, peak_lr=self.lr)  # pyright: ignore[reportCallIssue]  # a field of these rules
        object.__setattr__(self, "rule", rule)


@dataclass(frozen=True)
class Options:
    """How runs are trained; the same for all runs of a map."""

    points: int = 100  # points of a loss curve
    early_stop: bool = True  # cut runs whose verdict is certain
    independent: bool = False  # give every run an initialisation and a minibatch order of its own
    compile: bool = False  # compile the stacked step (needs a C++ compiler, takes 10 s or so)
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """What one training showed."""

    initial: float  # loss at the initialisation
    # float32 (points,), loss after each window of steps; ends early when cut
    curve: np.ndarray = field(repr=False)
    whole: bool  # the curve has all its points
    seconds: float  # share of the machine's time it took

    @property
    def final(self) -> float:
        """The loss the training ended with; see `final_loss`."""
        return final_loss(self.curve)


def windows(steps: int, points: int) -> list[int]:
    """The number of steps behind each point of the curve: equal windows, the last one perhaps
    shorter.

    There are `points` of them, or fewer where the steps do not divide well.

    Example:
        >>> windows(10, 4)
        [3, 3, 3, 1]
    """
    length = -(-steps // points)
    whole, rest = divmod(steps, length)
    return [length] * whole + [rest] * (rest > 0)


def final_loss(curve: np.ndarray) -> float:
    """The median of the curve's last tenth; inf where a value in it is not finite or there is no
    curve.

    Example:
        >>> final_loss(np.array([4.0, 3.0, 2.0])), final_loss(np.array([1.0, np.nan]))
        (2.0, inf)
    """
    tail = curve[-max(1, len(curve) // 10) :]
    return float(np.median(tail)) if len(tail) and np.isfinite(tail).all() else float("inf")


def certainly_failing(curves: np.ndarray, initial: np.ndarray, points: int) -> np.ndarray:
    """Which runs need not go on: bool (R,).

    A run is certain to fail when its last point is not finite, or when at least half the training is over and the
    whole last quarter lay above the loss it started from.

    Args:
        curves: (R, k), the first k points of each curve.
        initial: (R,), the loss at the initialisation.
        points: the number of points a whole curve has.
    """
    lost = ~np.isfinite(curves[:, -1])
    seen, quarter = curves.shape[1], max(1, points // 4)
    if 2 * seen >= points:
        with np.errstate(invalid="ignore"):
            lost |= (curves[:, -quarter:] > initial[:, None]).all(axis=1)
    return lost

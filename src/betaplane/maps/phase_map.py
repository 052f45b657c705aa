"""PhaseMap and its parts: cells, verdicts, marks, curves, and the recommended setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.decision import Decision
from betaplane.maps.grid import Axis

if TYPE_CHECKING:
    import pandas

GOOD, DEGRADED, FAILING = 0, 1, 2
VERDICTS = ("good", "degraded", "failing")
PREDICTED_VERDICTS = ("not failing", "degraded", "failing")  # only failure is predicted
Spot = tuple[int, int]  # a cell of the grid: (index on x, index on y)


@dataclass(frozen=True)
class Thresholds:
    """The scores at which verdicts change; a score is (final - best) / (initial - best)."""

    good: float = 0.05  # good below this
    failing: float = 0.5  # failing above this


@dataclass(frozen=True)
class Cell:
    """The results of the runs of one cell."""

    settings: Mapping[str, float]  # the cell's hyperparameters, lr, batch_size
    finals: tuple[float, ...]  # final loss of each seed; inf if it diverged
    score: float  # (final - best) / (initial - best), median over seeds; inf if it diverged
    verdict: int  # GOOD, DEGRADED or FAILING, of the score
    p_fail: float  # share of seeds that fail
    p_low: float  # lower end of the 95% Wilson interval of p_fail
    p_high: float  # upper end
    # (points,), loss over training of the median seed; shorter if it diverged
    curve: np.ndarray = field(repr=False)
    # False if the verdict may change with more seeds: seeds disagree, and the 95% interval of their
    # mean score contains a threshold
    decided: bool = True
    # held-out loss or metric along the median seed's run, at most 20 points; None if not measured
    held_out: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Mark:
    """A setting that is drawn on the map: a common one, or the user's own."""

    label: str  # "(0.9, 0.999) torch's default"
    x: float
    y: float
    verdict: int | None  # of the nearest cell; None if the setting is outside the map
    # to the nearest cell with another verdict, in decades of the axes; inf if none
    distance: float


@dataclass(frozen=True)
class Point:
    """A run that is not on the grid of the map, drawn where it is."""

    x: float
    y: float
    verdict: int


@dataclass(frozen=True)
class Curve:
    """A known curve, drawn on the map."""

    label: str
    x: np.ndarray  # (k,), values of the x hyperparameter
    y: np.ndarray  # (k,), values of the y hyperparameter; nan if there is no curve at x


@dataclass(frozen=True, repr=False)
class Recommendation:
    """The most robust good cell, and the reason."""

    settings: Mapping[str, float]
    spot: Spot
    distance: float  # to the nearest cell that is not good, decades; inf if every cell is good
    window: tuple[float, float]  # smallest and largest good y value around it, at its x value
    reason: str  # one sentence
    # the comparison with the default over learning rates and fresh seeds; None if it was not made
    decision: Decision | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()  # what to know or try before relying on it

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.settings.items())
        return f"Recommendation({values}; window {self.window[0]:g} to {self.window[1]:g})"


@dataclass(frozen=True)
class Prediction:
    """The basis of a map that was predicted and not trained.

    The scores of its cells are costs (`replay.quantities.cost`).
    """

    rests_on: str  # one line
    limits: str = ""  # one line: what is not predicted
    window: str = ""  # one line: which beta2 are not predicted to fail
    # one line per cell, in the order of `verdicts`
    notes: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, repr=False)
class PhaseMap:
    """A map of where training converges over two hyperparameters.

    `cells` contains the trained cells. `verdicts` and `p_fail`, both of shape (len(x), len(y)),
    judge every cell of the grid, trained or not.
    """

    problem: str
    rule: str
    x: Axis
    y: Axis
    fixed: Mapping[str, float]  # hyperparameters that do not vary
    cells: Mapping[Spot, Cell]
    verdicts: np.ndarray  # int8, (len(x), len(y)); every cell of the grid
    p_fail: np.ndarray  # float, (len(x), len(y)); every cell of the grid
    initial: float  # loss before training
    # the loss that scores 0; if the batch size varies, the lowest over all sizes
    best: float
    thresholds: Thresholds = Thresholds()
    judge: str = "loss"  # what initial, best and the finals of cells are: one of `JUDGES`
    score: str = "linear"  # "log": scores compare decades of (final - best)
    steps: int = 0
    trainings: int = 0  # number of runs
    marks: tuple[Mark, ...] = ()
    curves: tuple[Curve, ...] = ()
    recommendation: Recommendation | None = None
    # how it was made: engine, versions, seeds
    facts: Mapping[str, str] = field(default_factory=dict)
    predicted: Prediction | None = None  # None if the cells were trained
    points: tuple[Point, ...] = field(default=(), repr=False)  # runs that are not on the grid

    def __repr__(self) -> str:
        nx, ny = self.verdicts.shape
        shown = (GOOD, DEGRADED, FAILING) if self.predicted is None else (GOOD, FAILING)
        counts = [f"{int((self.verdicts == v).sum())} {self.verdict_names[v]}" for v in shown]
        axes = f"{self.x.name} x {self.y.name}, {nx} x {ny} cells"
        return f"PhaseMap({self.problem!r}, {self.rule}, {axes}: {', '.join(counts)})"

    @property
    def verdict_names(self) -> tuple[str, str, str]:
        """The names of the verdicts, by their numbers."""
        return VERDICTS if self.predicted is None else PREDICTED_VERDICTS

    def spot(self, **settings: float) -> Spot:
        """The cell nearest to a setting, given by the names of the two axes.

        Raises:
            BadInput: other names are given, or a value is not a number.
        """
        names = (self.x.name, self.y.name)
        are_numbers = all(isinstance(value, (int, float)) for value in settings.values())
        if {*settings} != {*names} or not are_numbers:
            example = ", ".join(f"{axis.name}={axis.values[-1]:g}" for axis in (self.x, self.y))
            raise BadInput(
                "A setting of this map needs a value for each of its two axes",
                value=settings,
                allowed=f"numbers for {names[0]} and {names[1]}",
                where="PhaseMap",
                instead=example,
            )
        return self.x.nearest(settings[names[0]]), self.y.nearest(settings[names[1]])

    def word(self, **settings: float) -> str:
        """The verdict of the cell nearest to a setting: "good", "degraded" or "failing"; of a
        prediction "not failing" or "failing".
        """
        return self.verdict_names[self.verdicts[self.spot(**settings)]]

    def to_frame(self) -> pandas.DataFrame:
        """One row per cell, as a pandas data frame; see `betaplane.maps.rows`."""
        from betaplane.maps.export import to_frame

        return to_frame(self)

    def to_csv(self) -> str:
        """One row per cell, as comma-separated text."""
        from betaplane.maps.export import to_csv

        return to_csv(self)

    def to_parquet(self, path: str | Path) -> Path:
        """One row per cell, as a Parquet file; returns its path."""
        from betaplane.maps.export import to_parquet

        return to_parquet(self, path)

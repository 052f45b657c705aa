"""A map of runs that are on no grid, and the most informative next runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from betaplane.cached import cached_property
from betaplane.errors import BadInput
from betaplane.maps.grid import NAMES, Axis, axis, is_beta, round_horizon, round_value
from betaplane.maps.known_curves import known_curves
from betaplane.maps.phase_map import Cell, PhaseMap, Point, Spot, Thresholds
from betaplane.maps.recommend import recommend
from betaplane.maps.sampling.acquisition import BatchPlan, Surfaces
from betaplane.maps.sampling.infer import judge_places
from betaplane.maps.store.run_record import Record
from betaplane.maps.verdicts import judge, median_of_finite, score, verdict

CELLS = 48  # per axis, in which the surface is drawn
LATTICE = 40  # places per axis among which the next runs are chosen
PREFERRED = ("beta1", "beta2", "lr", "batch_size", "eps", "weight_decay")
Place = tuple[float, float]  # positions on both axes


@dataclass(frozen=True)
class Scattered:
    """Finished runs at any settings, judged.

    Args:
        records: the runs, each with the settings of both axes.
        x: the horizontal axis, which spans them.
        y: the vertical axis.
        thresholds: the scores at which verdicts change.
        best: the loss that scores 0. None: the lowest final loss.
    """

    records: Sequence[Record]
    x: Axis
    y: Axis
    thresholds: Thresholds = Thresholds()
    best: float | None = None

    @cached_property
    def initial(self) -> float:
        """The loss that scores 1: the median of the losses before training."""
        return median_of_finite(record.initial for record in self.records)

    @cached_property
    def lowest(self) -> float:
        """The loss that scores 0."""
        finals = [r.final for r in self.records if math.isfinite(r.final)]
        return min(finals, default=self.initial) if self.best is None else self.best

    def score(self, record: Record) -> float:
        """The score of a run."""
        return score(record.final, self.initial, self.lowest)

    def place(self, settings: Mapping[str, Any]) -> Place:
        """The positions of a setting."""
        return tuple(ax.position(float(settings[ax.name])) for ax in (self.x, self.y))  # pyright: ignore[reportReturnType]

    @cached_property
    def votes(self) -> dict[Place, list[int]]:
        """The verdicts of the runs at each place."""
        votes: dict[Place, list[int]] = {}
        for record in self.records:
            vote = verdict(self.score(record), self.thresholds)
            votes.setdefault(self.place(record.settings), []).append(vote)
        return votes

    def cells(self) -> dict[Spot, Cell]:
        """The runs in the cells that contain them."""
        groups: dict[Spot, list[Record]] = {}
        for record in self.records:
            i, j = (ax.nearest(float(record.settings[ax.name])) for ax in (self.x, self.y))
            groups.setdefault((i, j), []).append(record)
        return {spot: self._cell(spot, records) for spot, records in sorted(groups.items())}

    def _cell(self, spot: Spot, records: list[Record]) -> Cell:
        at = {self.x.name: self.x.values[spot[0]], self.y.name: self.y.values[spot[1]]}
        scores = [self.score(record) for record in records]
        finals, curves = [r.final for r in records], [r.curve for r in records]
        return judge({**usual_settings(records), **at}, finals, curves, scores, self.thresholds)

    def points(self) -> tuple[Point, ...]:
        """The runs, for drawing."""
        return tuple(
            Point(
                float(record.settings[self.x.name]),
                float(record.settings[self.y.name]),
                verdict(self.score(record), self.thresholds),
            )
            for record in self.records
        )

    def next_settings(self, count: int) -> list[dict[str, float]]:
        """The settings of the most informative next runs, the most informative first.

        The same measure chooses the cells of a map with a limited number of runs: the probability
        that the verdict there is wrong, times the share of the uncertainty that a run removes. If
        all runs have one verdict, the places farthest from every run are proposed.

        Args:
            count: number of runs, >= 1.
        """
        lattice = self._lattice()
        surfaces = Surfaces().fit(self.votes)  # pyright: ignore[reportArgumentType]
        if not surfaces:
            return [self._setting(place) for place in _farthest(lattice, [*self.votes], count)]
        plan = BatchPlan(surfaces, {}, lattice, seeds=1, cap=1, size=count)  # pyright: ignore[reportArgumentType]
        plan.take(count)
        places: list[Any] = list(plan.chosen)
        return [self._setting(place) for place in places]

    def _lattice(self) -> list[Place]:
        sides = (np.linspace(ax.positions[0], ax.positions[-1], LATTICE) for ax in (self.x, self.y))
        xs, ys = sides
        return [(float(x), float(y)) for x in xs for y in ys]

    def _setting(self, place: Sequence[float]) -> dict[str, float]:
        """A setting that can be typed: rounded as the values of an axis are."""
        values = (
            _rounded(ax, ax.value(at)) for ax, at in zip((self.x, self.y), place, strict=True)
        )
        return dict(zip((self.x.name, self.y.name), values, strict=True))


def scattered_map(scattered: Scattered, problem: str, facts: Mapping[str, str]) -> PhaseMap:
    """The map of scattered runs: their surface, their cells, their points, a recommendation.

    Args:
        scattered: the runs.
        problem: its name.
        facts: how it was made.
    """
    x, y, cells = scattered.x, scattered.y, scattered.cells()
    shape = len(x), len(y)
    places = np.array([(px, py) for px in x.positions for py in y.positions])
    verdicts, p_fail = judge_places(scattered.votes, places)
    grid = verdicts.reshape(shape)
    fixed = {
        k: v for k, v in usual_settings(scattered.records).items() if k not in (x.name, y.name)
    }
    return PhaseMap(
        problem=problem,
        rule=str(scattered.records[0].settings.get("rule", "Adam")),
        x=x,
        y=y,
        fixed=fixed,
        cells=cells,
        verdicts=grid,
        p_fail=p_fail.reshape(shape),
        initial=scattered.initial,
        best=scattered.lowest,
        thresholds=scattered.thresholds,
        steps=max(record.steps for record in scattered.records),
        trainings=len(scattered.records),
        curves=known_curves(x, y, None),
        recommendation=recommend(x, y, cells, grid),
        facts=facts,
        points=scattered.points(),
    )


def usual_settings(records: Sequence[Record]) -> dict[str, float]:
    """The most common value of each setting that is a number."""
    counts = _value_counts(records)
    return {name: float(values.most_common(1)[0][0]) for name, values in counts.items()}


def varied_settings(records: Sequence[Record]) -> list[str]:
    """The settings with several values, first those that a map varies most often."""
    names = [name for name, values in _value_counts(records).items() if len(values) > 1]
    return sorted(names, key=lambda name: (*PREFERRED, name).index(name))


def _value_counts(records: Sequence[Record]) -> dict[str, Counter[float]]:
    """How many runs have each value, for each setting that is a number."""
    counts: dict[str, Counter[float]] = {}
    for record in records:
        for name, value in record.settings.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                counts.setdefault(name, Counter())[value] += 1
    return counts


def spanning_axis(name: str, records: Sequence[Record], argument: str, points: int = CELLS) -> Axis:
    """The axis that spans the values of a setting.

    Raises:
        BadInput: no run has the setting, or it has one value.
    """
    values = [float(r.settings[name]) for r in records if name in r.settings]
    if len(set(values)) < 2:
        raise BadInput(
            f"The runs do not vary {name}",
            value=values[0] if values else None,
            allowed=f"one of {', '.join(varied_settings(records)) or 'none: no setting varies'}",
            where=argument,
        )
    low, high = min(values), max(values)
    linear = not is_beta(name) and low <= 0
    known = (*NAMES, name)
    scale = "linear" if linear else "log"
    if low < 0:
        return Axis(name, tuple(np.linspace(low, high, points).tolist()), "linear")
    return axis(name, low, high, points, scale=scale, argument=argument, known=known)


def _rounded(ax: Axis, value: float) -> float:
    if ax.name == "batch_size":
        return float(round(value))
    return round_horizon(value) if is_beta(ax.name) else round_value(value)


def _farthest(lattice: list[Place], taken: list[Place], count: int) -> list[Place]:
    """Places of the lattice, each the farthest from all runs and from those before it."""
    grid, chosen = np.array(lattice), []
    extent = np.ptp(grid, axis=0)
    away = np.full(len(grid), np.inf)
    for place in taken:
        away = np.minimum(away, np.hypot(*((grid - place) / extent).T))
    for _ in range(count):
        best = int(np.argmax(away))
        chosen.append(lattice[best])
        away = np.minimum(away, np.hypot(*((grid - grid[best]) / extent).T))
    return chosen

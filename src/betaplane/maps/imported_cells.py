"""Imported runs as runs of the nearest cells of a map."""

from __future__ import annotations

import math

import numpy as np

from betaplane.maps.grid import Axis
from betaplane.maps.imports.imported_run import ENGINE
from betaplane.maps.imports.read import HAS_IMPORTS
from betaplane.maps.phase_map import Spot
from betaplane.maps.plan import Plan
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store

MAX_STEPS_BEYOND = 0.5  # spacings beyond an end of an axis at which a run still counts


def imported_cells(store: Store, plan: Plan) -> dict[Spot, list[Record]]:
    """The imported runs of a store that lie on the map, by the nearest cell.

    A run counts if each setting that it gives and the map fixes is the map's.
    """
    cells: dict[Spot, list[Record]] = {}
    if HAS_IMPORTS not in store.meta:
        return cells
    for record in store.all():
        spot = _spot(record, plan) if record.engine == ENGINE else None
        if spot is not None:
            cells.setdefault(spot, []).append(record)
    return cells


def _spot(record: Record, plan: Plan) -> Spot | None:
    settings = record.settings
    shared = plan.fixed.keys() & settings.keys()
    same = all(math.isclose(float(settings[n]), plan.fixed[n], rel_tol=1e-6) for n in shared)
    if not same or not {plan.x.name, plan.y.name} <= settings.keys():
        return None
    i, j = (_index(ax, float(settings[ax.name])) for ax in (plan.x, plan.y))
    return None if i is None or j is None else (i, j)


def _index(ax: Axis, value: float) -> int | None:
    positions, place = ax.positions, ax.position(value)
    margin = MAX_STEPS_BEYOND * float(np.diff(positions).max())
    if not positions[0] - margin <= place <= positions[-1] + margin:
        return None
    return ax.nearest(value)

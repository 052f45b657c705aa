"""The held-out curves of runs, in the values of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from betaplane.maps.store.meta import Meta
from betaplane.maps.store.run_record import Record
from betaplane.text import json_safe

HELD_OUT = "held-out curves of "  # start of the name; the first run of a chunk follows


def save_held_out(meta: Meta, records: Sequence[Record]) -> None:
    """Store the curves of a chunk of runs, as one value."""
    curves = {
        r.key: [float(f"{value:.7g}") for value in r.held_out]
        for r in records
        if r.held_out is not None
    }
    if curves:
        meta[f"{HELD_OUT}{records[0].key}"] = json_safe(curves)


def with_held_out(records: Mapping[str, Record], meta: Meta) -> dict[str, Record]:
    """Runs with the curves that are stored of them, by the key of the run."""
    curves: dict[str, list[float | None]] = {}
    for chunk in meta.starting_with(HELD_OUT).values() if records else ():
        curves |= chunk
    return {key: replace(r, held_out=_array(curves.get(key))) for key, r in records.items()}


def _array(curve: list[float | None] | None) -> np.ndarray | None:
    if curve is None:
        return None
    return np.array([np.nan if value is None else value for value in curve], np.float32)

"""Export a map as plain data: rows, JSON, CSV, a data frame, Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from betaplane.errors import not_installed
from betaplane.maps.decision import Decision
from betaplane.maps.phase_map import VERDICTS, Mark, PhaseMap, Point
from betaplane.text import json_safe

if TYPE_CHECKING:
    import pandas


def rows(phase_map: PhaseMap) -> Iterator[dict[str, Any]]:
    """One row for every cell of the grid: axes, verdict, P(fail), and the results of its runs.

    The rows are sorted by x, then y. If a verdict was inferred from other cells, `trained` is
    False; score, final and the interval are then None, and `p_fail` is from the probability
    surface. If more seeds may change the verdict, `decided` is False.
    """
    for i, x in enumerate(phase_map.x.values):
        for j, y in enumerate(phase_map.y.values):
            cell = phase_map.cells.get((i, j))
            yield {
                phase_map.x.name: x,
                phase_map.y.name: y,
                "verdict": phase_map.verdict_names[phase_map.verdicts[i, j]],
                "p_fail": float(phase_map.p_fail[i, j]),
                "trained": cell is not None and phase_map.predicted is None,
                "score": cell.score if cell else None,
                "final": _median_loss(cell.finals) if cell else None,
                "seeds": len(cell.finals) if cell else 0,
                "p_fail_low": cell.p_low if cell else None,
                "p_fail_high": cell.p_high if cell else None,
                "decided": cell.decided if cell else None,
            }


def _median_loss(finals: Sequence[float]) -> float | None:
    """The median, the upper of two; None if there are no losses."""
    return sorted(finals)[len(finals) // 2] if finals else None


def to_json(phase_map: PhaseMap) -> dict[str, Any]:
    """The map as JSON values: numbers that are not finite are None."""
    thresholds = phase_map.thresholds
    return json_safe(
        {
            "problem": phase_map.problem,
            "rule": phase_map.rule,
            "x": {
                "name": phase_map.x.name,
                "values": list(phase_map.x.values),
                "scale": phase_map.x.scale,
            },
            "y": {
                "name": phase_map.y.name,
                "values": list(phase_map.y.values),
                "scale": phase_map.y.scale,
            },
            "fixed": dict(phase_map.fixed),
            "steps": phase_map.steps,
            "trainings": phase_map.trainings,
            "initial": phase_map.initial,
            "best": phase_map.best,
            "judge": phase_map.judge,
            "score": phase_map.score,
            "thresholds": {"good": thresholds.good, "failing": thresholds.failing},
            "recommendation": _recommendation(phase_map),
            "marks": [_mark(mark, phase_map) for mark in phase_map.marks],
            "cells": [*_cells(phase_map)],
            "points": [_point(phase_map, point) for point in phase_map.points],
            "facts": dict(phase_map.facts),
            **({"limits": phase_map.predicted.limits} if phase_map.predicted else {}),
        }
    )


def _cells(phase_map: PhaseMap) -> Iterator[dict[str, Any]]:
    """The rows of `rows`, with the held-out curves, if there are any."""
    measured = any(cell.held_out is not None for cell in phase_map.cells.values())
    for row, spot in zip(rows(phase_map), np.ndindex(*phase_map.verdicts.shape), strict=True):
        cell = phase_map.cells.get(spot)  # pyright: ignore[reportArgumentType]
        curve = None if cell is None or cell.held_out is None else cell.held_out.tolist()
        yield {**row, "held_out": curve} if measured else row


def _point(phase_map: PhaseMap, point: Point) -> dict[str, Any]:
    """A run that is not on the grid."""
    names = phase_map.x.name, phase_map.y.name
    return {**dict(zip(names, (point.x, point.y), strict=True)), "verdict": VERDICTS[point.verdict]}


def _recommendation(phase_map: PhaseMap) -> dict[str, Any] | None:
    recommendation = phase_map.recommendation
    if recommendation is None:
        return None
    low, high = recommendation.window
    return {
        "settings": dict(recommendation.settings),
        "window": {"of": phase_map.y.name, "low": low, "high": high},
        "distance": recommendation.distance,
        "reason": recommendation.reason,
        "notes": list(recommendation.notes),
        "comparison": _comparison(recommendation.decision),
    }


def _comparison(decision: Decision | None) -> dict[str, Any] | None:
    """The comparison with the default; None if it was not made."""
    if decision is None:
        return None
    return {
        "default": dict(decision.default),
        "gain": asdict(decision.gain),
        "best other setting against the default at its best lr": asdict(decision.gain_at_best_lr),
        "keeps betas": decision.keeps_betas,
        "keeps lr": decision.keeps_lr,
        "lr margin": list(decision.lr_margin),
    }


def _mark(mark: Mark, phase_map: PhaseMap) -> dict[str, Any]:
    return {
        "label": mark.label,
        "x": mark.x,
        "y": mark.y,
        "distance": mark.distance,
        "verdict": None if mark.verdict is None else phase_map.verdict_names[mark.verdict],
    }


def to_csv(phase_map: PhaseMap) -> str:
    """The rows of `rows` as comma-separated text with a header."""
    text = io.StringIO()
    table = list(rows(phase_map))
    writer = csv.DictWriter(text, table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def to_frame(phase_map: PhaseMap) -> pandas.DataFrame:
    """The rows of `rows` as a pandas data frame.

    Raises:
        BadInput: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise not_installed("pandas", "frame", "to_frame") from None
    return pandas.DataFrame(rows(phase_map))


def to_parquet(phase_map: PhaseMap, path: str | Path) -> Path:
    """Write the rows of `rows` as a Parquet file; returns its path.

    Raises:
        BadInput: pandas or pyarrow is not installed.
    """
    frame = to_frame(phase_map)
    try:
        frame.to_parquet(path)
    except ImportError:
        raise not_installed("pyarrow", "frame", "to_parquet") from None
    return Path(path)

"""The map as one self-contained HTML page with the data and all loss curves."""

from __future__ import annotations

import base64
import math
from html import escape
from string import Template
from typing import Any

import numpy as np

from betaplane.errors import expect
from betaplane.figures import _curves, _scene, _text, _ticks, palette
from betaplane.figures._layout import labels
from betaplane.figures._page import pairs, part, script_json
from betaplane.figures._torch_line import torch_line
from betaplane.maps.grid import Axis, is_beta
from betaplane.maps.phase_map import VERDICTS, Cell, PhaseMap
from betaplane.text import format_number

SHADE_CODES = (
    85  # per verdict; a cell is one byte, verdict * SHADE_CODES + shade * (SHADE_CODES - 1)
)
MAP_PIXELS = (560.0, 560.0)  # width and height for which labels are placed
DASHES = ("solid", "8px,4px", "2px,4px", "10px,4px,2px,4px")  # by _scene.dash


def html(phase_map: PhaseMap) -> str:
    """Write a map as a self-contained page.

    Hovering over a cell shows its settings, its verdict and its loss curve.

    Args:
        phase_map: the map.

    Returns:
        The text of an HTML file; it needs no network.
    """
    expect(phase_map, PhaseMap, "phase_map", "html(map_phases(problem))")
    return Template(part("page.html")).substitute(
        title=escape(_text.title(phase_map)),
        held=escape(_text.fixed_settings(phase_map)),
        caption=escape(_text.caption(phase_map, " (dots)")),
        legend=_legend(phase_map),
        recommendation=_recommendation(phase_map),
        marks=_marks(phase_map),
        fixed=pairs(
            (_text.symbol(name), format_number(name, value))
            for name, value in phase_map.fixed.items()
        ),
        facts=pairs(_facts(phase_map)),
        css=part("page.css"),
        plot=part("plot.js"),
        data=script_json(_data(phase_map)),
        script=part("page.js"),
    )


def _data(phase_map: PhaseMap) -> dict[str, Any]:
    curves = [cell.curve for cell in phase_map.cells.values()]
    shades = np.rint((SHADE_CODES - 1) * _scene.shades(phase_map))
    codes = (SHADE_CODES * phase_map.verdicts.astype(int) + shades).astype(np.uint8)
    return {
        "x": _axis(phase_map.x),
        "y": _axis(phase_map.y),
        "codes": base64.b64encode(codes.tobytes()).decode(),
        "levelsPerVerdict": SHADE_CODES,
        "verdicts": phase_map.verdict_names,
        "chips": _chips(phase_map),
        "pFail": [float(f"{p:.3g}") for p in np.asarray(phase_map.p_fail, dtype=float).ravel()],
        "cells": _cells(phase_map),
        "nearest": _nearest(phase_map),
        "predicted": phase_map.predicted and phase_map.predicted.notes,
        "curves": _curves.encode(phase_map, curves),
        "lossAxis": _curves.axis(phase_map, curves),
        "heldOut": [_held_out(cell) for cell in phase_map.cells.values()],
        "initial": float(phase_map.initial),
        "steps": phase_map.steps,
        "measure": _text.measure(phase_map).capitalize(),
        "colors": {
            "ramps": _text.ramps(phase_map),
            "solid": palette.SOLID,
            "ink": palette.INK,
            "muted": palette.MUTED,
        },
        **_overlay(phase_map),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    horizons = [_horizon(value) if is_beta(axis.name) else "" for value in axis.values]
    values = [
        f"{value:.8g}" if is_beta(axis.name) else format_number(axis.name, value)
        for value in axis.values
    ]
    return {
        "symbol": _text.symbol(axis.name),
        "label": _ticks.label(axis),
        "values": values,
        "horizons": horizons,
        "edges": _ticks.edges(axis).tolist(),
        "ticks": [[tick.position, tick.text, tick.below] for tick in _ticks.ticks(axis)],
    }


def _horizon(beta: float) -> str:
    """A memory horizon, to three digits."""
    steps = 1.0 / (1.0 - beta)
    return f"{steps:.3g}" if steps < 100 else f"{steps:.0f}"


def _cells(phase_map: PhaseMap) -> dict[str, list[Any]]:
    """Results of the trained cells as columns; `index` numbers cells in the order of `codes`."""
    height, cells = len(phase_map.y), phase_map.cells
    return {
        "index": [i * height + j for i, j in cells],
        "score": [cell.score for cell in cells.values()],
        "final": [_final(cell) for cell in cells.values()],
        "seeds": [len(cell.finals) for cell in cells.values()],
        "p": [[cell.p_fail, cell.p_low, cell.p_high] for cell in cells.values()],
    }


def _held_out(cell: Cell) -> list[float] | None:
    """The held-out curve of a cell, to five digits."""
    if cell.held_out is None:
        return None
    return [float(f"{value:.5g}") for value in cell.held_out]


def _final(cell: Cell) -> float:
    """The median final loss, where NaN counts as the highest."""
    if not cell.finals:
        return math.nan
    return sorted(cell.finals, key=lambda loss: (math.isnan(loss), loss))[len(cell.finals) // 2]


def _nearest(phase_map: PhaseMap) -> list[int]:
    """The trained cell nearest to each cell; empty if all cells were trained."""
    if not _scene.untrained(phase_map):
        return []
    nearest = _scene.nearest_trained(phase_map)
    i, j = nearest[..., 0], nearest[..., 1]
    index = np.where(i < 0, -1, i * len(phase_map.y) + j)
    return index.ravel().tolist()


def _overlay(phase_map: PhaseMap) -> dict[str, Any]:
    """Lines, marks, star and labels over the cells, in positions."""
    lines = [_scene.split(phase_map, _scene.line(phase_map, curve)) for curve in phase_map.curves]
    marks = [_scene.point(phase_map, mark.x, mark.y) for mark in _scene.marks_inside(phase_map)]
    spot = phase_map.recommendation and phase_map.recommendation.spot
    placed = labels(phase_map, MAP_PIXELS, _measure)
    return {
        "lines": [[part.tolist() for part in parts] for parts in lines],
        "dashes": [
            DASHES[_scene.dash(curve, index)] for index, curve in enumerate(phase_map.curves)
        ],
        "undecided": _scene.undecided(phase_map).tolist(),
        "dots": _scene.dots(phase_map).tolist() if _scene.untrained(phase_map) else [],
        "marks": marks,
        "star": _scene.recommended(phase_map),
        "first": list(spot) if spot else [len(phase_map.x) // 2, len(phase_map.y) // 2],
        "labels": [
            [label.x, label.y, escape(label.text), label.align, label.angle, label.bold, label.dark]
            for label in placed
        ],
    }


def _measure(text: str, bold: bool) -> tuple[float, float]:
    """Approximate width and height of a text in the font of the page, in pixels."""
    return (8.2 if bold else 7.4) * len(text), 15.0


def _legend(phase_map: PhaseMap) -> str:
    items = [
        f'<li><i style="background:linear-gradient(90deg,{start},{end})"></i><b>{name}</b> {escape(rule)}</li>'
        for verdict, (name, rule) in _text.verdict_rules(phase_map).items()
        for start, end in [_text.ramps(phase_map)[verdict]]
    ]
    if phase_map.predicted is not None:
        items.append(f"<li>{escape(phase_map.predicted.limits)}</li>")
    if len(_scene.undecided(phase_map)):
        items.append("<li><b>✕ undecided</b> seeds disagree</li>")
    return "".join(items)


def _chips(phase_map: PhaseMap) -> tuple[str, ...]:
    """The style of the chip of each verdict; cells that are not predicted to fail have none."""
    return VERDICTS if phase_map.predicted is None else ("none", *VERDICTS[1:])


def _recommendation(phase_map: PhaseMap) -> str:
    recommendation = phase_map.recommendation
    if recommendation is None:
        return f"<p class='headline'>{escape(_text.no_recommendation(phase_map))}</p>"
    line = escape(torch_line(phase_map))
    return (
        f"<p class='headline'>{escape(_text.headline(phase_map))}</p><p>{escape(_text.window(phase_map))}</p>"
        f"<p class='why'>{escape(_text.with_symbols(recommendation.reason))}</p>"
        f"{''.join(_note(note) for note in recommendation.notes)}"
        f"<div class='code'><code id='code'>{line}</code><button id='copy' type='button'>Copy</button></div>"
    )


def _note(note: str) -> str:
    return f"<p class='note'>{escape(note)}</p>"


def _marks(phase_map: PhaseMap) -> str:
    if not phase_map.marks:
        return ""
    rows = []
    for mark in phase_map.marks:
        chip = "none" if mark.verdict is None else _chips(phase_map)[mark.verdict]
        away = _text.DASH if mark.verdict is None else _text.distance(mark.distance, phase_map)
        verdict = (
            f"<span class='chip {chip}'>{_text.verdict_name(mark, phase_map.verdict_names)}</span>"
        )
        rows.append(f"<tr><td>{escape(mark.label)}</td><td>{verdict}</td><td>{away}</td></tr>")
    head = "<tr><th>Setting</th><th>Verdict</th><th>To the nearest other verdict</th></tr>"
    return f"<section><h2>Settings in use</h2><table>{head}{''.join(rows)}</table></section>"


def _facts(phase_map: PhaseMap) -> list[tuple[str, str]]:
    if phase_map.predicted is not None:
        return [
            ("data", _text.caption(phase_map)),
            ("score", _text.score(phase_map)),
            *phase_map.facts.items(),
        ]
    measured = [
        ("data", _text.caption(phase_map)),
        (f"initial {_text.measure(phase_map)}", _text.loss(phase_map.initial)),
        (f"best {_text.measure(phase_map)}", f"{_text.loss(phase_map.best)} (scores 0)"),
        ("score", f"{_text.score(phase_map).removeprefix('Score = ')}, the median over seeds"),
    ]
    return [*measured, *phase_map.facts.items()]

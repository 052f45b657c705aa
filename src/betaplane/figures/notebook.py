"""The map in a notebook: the picture and a table with the recommendation."""

from __future__ import annotations

import base64
from html import escape

from betaplane.figures import _text
from betaplane.figures._torch_line import torch_line
from betaplane.figures.png import png
from betaplane.maps.phase_map import PhaseMap

CELL_STYLE = "padding:2px 14px 2px 0;text-align:left"


def repr_html(phase_map: PhaseMap) -> str:
    """The HTML that a notebook shows for a map: a picture and a small table, without scripts."""
    picture = base64.b64encode(png(phase_map, dpi=100)).decode()
    title = escape(_text.title(phase_map), quote=True)
    image = f'<img alt="{title}" width="820" style="max-width:100%" src="data:image/png;base64,{picture}">'
    rows = "".join(
        f'<tr><th style="{CELL_STYLE}">{escape(name)}</th><td style="{CELL_STYLE}">{escape(text)}</td></tr>'
        for name, text in _rows(phase_map)
    )
    return f"<div>{image}<table>{rows}</table></div>"


def _rows(phase_map: PhaseMap) -> list[tuple[str, str]]:
    recommendation = phase_map.recommendation
    if recommendation is None:
        rows = [("recommended", _text.no_recommendation(phase_map))]
    else:
        rows = [
            ("recommended", _text.headline(phase_map)),
            ("window", _text.window(phase_map)),
            ("why", _text.short_reason(recommendation.reason)),
        ]
        rows.append(("write", torch_line(phase_map)))
        rows += [("note", note) for note in recommendation.notes]
    marks = [
        (mark.label, _text.verdict_name(mark, phase_map.verdict_names)) for mark in phase_map.marks
    ]
    limits = [("limits", phase_map.predicted.limits)] if phase_map.predicted else []
    return [*rows, *marks, *limits, ("data", _text.caption(phase_map))]

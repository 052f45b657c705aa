"""HTML page of a watched run; the data are inside, so it needs no network."""

from __future__ import annotations

import base64
from html import escape
from string import Template
from typing import Any

import numpy as np

from betaplane.figures import palette
from betaplane.figures._page import pairs, part, script_json
from betaplane.figures.report import _text
from betaplane.figures.report.alert_card import card
from betaplane.figures.report.quantities import (
    Quantity,
    available_quantities,
    column_maxima,
    column_starts,
    edges,
)
from betaplane.figures.report.run import WatchedRun
from betaplane.text import plural

MAX_COLUMNS = 240  # of the heat map; with more readings, a column shows the largest of several
MAX_POINTS = 4000  # of the loss; with more steps, each stretch shows its extremes


def report_html(run: WatchedRun, title: str, quantity: Quantity | None) -> str:
    """Write a watched run as a self-contained page.

    Args:
        run: the run.
        title: its name, such as the file's.
        quantity: the quantity that the layers show first; None if nothing was read.

    Returns:
        The text of an HTML file.
    """
    alerts = "".join(card(i, alert) for i, alert in enumerate(run.alerts, start=1))
    return Template(part("report/report.html")).substitute(
        title=escape(title),
        headline=escape(_text.headline(run)),
        summary=escape(_text.summary(run)),
        caption=escape(_caption(run)),
        alerts=alerts or "<p class='why'>No detector raised an alert.</p>",
        groups=pairs(_text.groups(run)),
        facts=pairs(_text.facts(run)),
        css=part("page.css") + part("report/report.css"),
        plot=part("plot.js"),
        data=script_json(_data(run, quantity)),
        script=part("report/report.js"),
    )


def _caption(run: WatchedRun) -> str:
    caption = f"Every tensor, read at {plural(len(run.at), 'step')}."
    per_column = -(-len(run.at) // MAX_COLUMNS)
    if per_column > 1:
        caption += f" A column shows the largest of up to {per_column} readings."
    if not np.isfinite(run.losses).all():
        caption += " The loss of shaded steps is not finite."
    return f"{caption} Blank cells are not finite. Numbered lines are alerts."


def _data(run: WatchedRun, first: Quantity | None) -> dict[str, Any]:
    starts = column_starts(run, MAX_COLUMNS)
    return {
        "loss": _loss(run),
        "last": run.last,
        "layers": run.layers,
        "steps": run.at[starts].tolist(),
        "edges": edges(run, starts).tolist() if len(starts) else [],
        "quantities": [_quantity(run, quantity, starts) for quantity in available_quantities(run)],
        "first": first.name if first else "",
        "alerts": [
            {"step": alert["step"], "layer": alert["layer"], "cause": alert["cause"]}
            for alert in run.alerts
        ],
        "colors": {"ramps": palette.RAMPS, "solid": palette.SOLID},
    }


def _quantity(run: WatchedRun, quantity: Quantity, starts: np.ndarray) -> dict[str, Any]:
    values = column_maxima(run.values[quantity.name], starts).astype("<f4")
    return {**quantity._asdict(), "values": base64.b64encode(values.tobytes()).decode()}


def _loss(run: WatchedRun) -> dict[str, list[Any]]:
    """Losses over steps; of very many only the extremes of each stretch, so that no spike is lost."""
    if len(run.steps) <= MAX_POINTS:
        return {"steps": run.steps.tolist(), "values": run.losses.tolist()}
    extremes: set[int] = set()
    for stretch in np.array_split(np.arange(len(run.steps)), MAX_POINTS // 2):
        losses = np.nan_to_num(run.losses[stretch], nan=np.inf)
        extremes |= {int(stretch[losses.argmin()]), int(stretch[losses.argmax()])}
    order = sorted(extremes)
    return {"steps": run.steps[order].tolist(), "values": run.losses[order].tolist()}

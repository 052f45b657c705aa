"""A watched run as one page: plotly.js and all data are inside, nothing comes from the network."""

from __future__ import annotations

import base64
from html import escape
from string import Template
from typing import Any

import numpy as np

from betaplane.figures import palette
from betaplane.figures._page import pairs, part, script_json
from betaplane.figures.report import _text
from betaplane.figures.report.forensics import card
from betaplane.figures.report.run import WatchedRun
from betaplane.figures.report.shown import Quantity, columns, edges, offered, squeezed

# of the heat map; where there are more readings, a column shows the largest of several
COLUMNS = 240
POINTS = 4000  # of the loss; where there are more, each is the least and the largest of several


def report_html(run: WatchedRun, title: str, quantity: Quantity | None) -> str:
    """Write a watched run as a self-contained page.

    Args:
        run: the run.
        title: what it is called, such as its file.
        quantity: what is shown of the layers at first; None where nothing was read.

    Returns:
        The text of an HTML file, 5 MB or more, most of it plotly.js.
    """
    from plotly.offline import get_plotlyjs

    alarms = "".join(card(i, alert) for i, alert in enumerate(run.alerts, start=1))
    return Template(part("report/report.html")).substitute(
        title=escape(title),
        headline=escape(_text.headline(run)),
        held=escape(_text.held(run)),
        caption=escape(_caption(run)),
        alarms=alarms or "<p class='why'>No detector raised an alarm.</p>",
        groups=pairs(_text.groups(run)),
        facts=pairs(_text.facts(run)),
        css=part("page.css") + part("report/report.css"),
        plotly=get_plotlyjs(),
        data=script_json(_data(run, quantity)),
        script=part("report/report.js"),
    )


def _caption(run: WatchedRun) -> str:
    several = -(-len(run.at) // COLUMNS)
    told = f" A column is the largest of up to {several} readings." if several > 1 else ""
    read = f"Every tensor at the {len(run.at):,} steps that were read.{told}"
    return f"{read} Blank is what is not finite. Numbered lines are alarms."


def _data(run: WatchedRun, first: Quantity | None) -> dict[str, Any]:
    starts = columns(run, COLUMNS)
    return {
        "loss": _loss(run),
        "last": run.last,
        "layers": run.layers,
        "steps": run.at[starts].tolist(),
        "edges": edges(run, starts).tolist() if len(starts) else [],
        "quantities": [_quantity(run, each, starts) for each in offered(run)],
        "first": first.name if first else "",
        "alarms": [
            {"step": alert["step"], "layer": alert["layer"], "cause": alert["cause"]}
            for alert in run.alerts
        ],
        "colours": {"ramps": palette.RAMPS, "solid": palette.SOLID},
    }


def _quantity(run: WatchedRun, each: Quantity, starts: np.ndarray) -> dict[str, Any]:
    values = squeezed(run.values[each.name], starts).astype("<f4")
    return {**each._asdict(), "values": base64.b64encode(values.tobytes()).decode()}


def _loss(run: WatchedRun) -> dict[str, list[Any]]:
    """Losses over steps; of very many the extremes of each stretch, so that no spike is left out."""
    if len(run.steps) <= POINTS:
        return {"steps": run.steps.tolist(), "values": run.losses.tolist()}
    kept: set[int] = set()
    for chunk in np.array_split(np.arange(len(run.steps)), POINTS // 2):
        losses = np.nan_to_num(run.losses[chunk], nan=np.inf)
        kept |= {int(chunk[losses.argmin()]), int(chunk[losses.argmax()])}
    order = sorted(kept)
    return {"steps": run.steps[order].tolist(), "values": run.losses[order].tolist()}

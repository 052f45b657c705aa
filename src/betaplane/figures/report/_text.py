"""What a report says in words: the run, its first cause, its alarms; for the page, the picture and
the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from betaplane.figures.report.run import WHOLE, WatchedRun
from betaplane.figures.report.shown import offered
from betaplane.monitor import Alert

BETWEEN = " · "
ASKED = ("lr", "betas", "eps", "weight_decay")  # of a group, what a reader looks for first


def headline(run: WatchedRun) -> str:
    """The first cause, or that there is none."""
    if not run.alerts:
        return f"No alarm in {run.last:,} steps"
    first = run.alerts[0]
    place = f" in {first['layer']}" if first["layer"] else ""
    return f"First cause: {first['cause']}, step {first['step']:,}{place}"


def held(run: WatchedRun) -> str:
    """What was trained, in a line."""
    groups = run.start.get("groups") or [{}]
    told = [f"{name} {_number(groups[0][name])}" for name in ASKED if name in groups[0]]
    more = [f"{len(groups)} groups"] if len(groups) > 1 else []
    sizes = [f"{run.last:,} steps", f"{len(run.layers) - (run.layers[:1] == [WHOLE]):,} tensors"]
    which = [f"run {run.number} of {run.of} in the file"] if run.of > 1 else []
    return BETWEEN.join(
        [run.start.get("optimizer", "optimizer unknown"), *told, *more, *sizes, *which]
    )


def losses(run: WatchedRun) -> str:
    """Where the loss began, its least, where it ended."""
    finite = run.losses[np.isfinite(run.losses)]
    if not len(run.losses):
        return "no loss was given: watcher.loss(loss) before each step"
    if not len(finite):
        return f"not finite at any of the {len(run.losses):,} steps that have one"
    ends = "not finite" if not np.isfinite(run.losses[-1]) else f"{run.losses[-1]:.4g}"
    return f"{finite[0]:.4g} at first, {finite.min():.4g} at best, {ends} at last"


def facts(run: WatchedRun) -> list[tuple[str, str]]:
    """How it was watched."""
    start = run.start
    versions = ", ".join(f"{name} {value}" for name, value in start.get("versions", {}).items())
    found = [
        ("optimizer", ".".join(filter(None, [start.get("module"), start.get("optimizer")]))),
        ("began", start.get("time", "")),
        ("loss", losses(run)),
        (
            "readings",
            f"{len(run.at):,}, one every {start['every']} steps or fewer"
            if "every" in start
            else f"{len(run.at):,}",
        ),
        ("versions", versions),
    ]
    return [(name, text) for name, text in found if text]


def groups(run: WatchedRun) -> list[tuple[str, str]]:
    """The numbers of each parameter group, as they were at the start."""
    listed = run.start.get("groups", [])
    rows = [
        ", ".join(f"{name} {_number(value)}" for name, value in group.items() if value is not False)
        for group in listed
    ]
    return [(f"group {i}" if len(rows) > 1 else "group", row) for i, row in enumerate(rows)]


def sentence(alert: Mapping[str, Any]) -> str:
    """An alarm as the console told it."""
    names = Alert.__dataclass_fields__
    return str(
        Alert(**{"averted": "", **{name: value for name, value in alert.items() if name in names}})
    )


def as_text(run: WatchedRun, title: str) -> str:
    """A report in a few lines.

    Args:
        run: the run.
        title: what it is called, such as its file.
    """
    alarms = [f"{i}. {sentence(alert)}" for i, alert in enumerate(run.alerts, start=1)]
    return "\n".join(
        [
            f"{title}: {held(run).replace(BETWEEN, ', ')}",
            f"loss {losses(run)}",
            headline(run),
            *alarms,
        ]
    )


def as_json(run: WatchedRun) -> dict[str, Any]:
    """A report as plain words and numbers: what was trained, the alarms, and of each layer the last
    and worst readings.

    Args:
        run: the run.
    """
    names = [each.name for each in offered(run)]
    layers = {layer: _layer(run, names, i) for i, layer in enumerate(run.layers)}
    whole = layers.pop(WHOLE, None) or next(iter(layers.values()), {})
    return {
        "run": run.start,
        "steps": run.last,
        "loss": {
            "first": _end(run.losses, 0),
            "best": _least(run.losses),
            "last": _end(run.losses, -1),
        },
        "alarms": run.alerts,
        "whole": whole,
        "layers": [{"layer": layer, **found} for layer, found in layers.items()],
    }


def _layer(run: WatchedRun, names: Sequence[str], i: int) -> dict[str, Any]:
    rows = {name: run.values[name][i][np.isfinite(run.values[name][i])] for name in names}
    return {
        name: {"last": float(row[-1]), "largest": float(row.max())}
        for name, row in rows.items()
        if len(row)
    }


def _end(values: np.ndarray, i: int) -> float | None:
    return float(values[i]) if len(values) and np.isfinite(values[i]) else None


def _least(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else None


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_number, value)) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)

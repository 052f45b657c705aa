"""Text of a report: the run, its first cause and its alerts, for the page, picture and terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from betaplane.figures.report.quantities import available_quantities
from betaplane.figures.report.run import WHOLE_MODEL, WatchedRun
from betaplane.monitor import Alert

SEPARATOR = " · "
SUMMARY_FIELDS = ("lr", "betas", "eps", "weight_decay")  # of the first parameter group


def headline(run: WatchedRun) -> str:
    """The first cause, or that there is none."""
    if not run.alerts:
        return f"No alert in {run.last:,} steps"
    first = run.alerts[0]
    place = f" in {first['layer']}" if first["layer"] else ""
    return f"First cause: {first['cause']}, step {first['step']:,}{place}"


def summary(run: WatchedRun) -> str:
    """What was trained, in one line."""
    groups = run.start.get("groups") or [{}]
    tensors = len(run.layers) - (run.layers[:1] == [WHOLE_MODEL])
    parts = [run.start.get("optimizer", "optimizer unknown")]
    parts += [f"{name} {_value(groups[0][name])}" for name in SUMMARY_FIELDS if name in groups[0]]
    if len(groups) > 1:
        parts.append(f"{len(groups)} groups")
    parts += [f"{run.last:,} steps", f"{tensors:,} tensors"]
    if run.of > 1:
        parts.append(f"run {run.number} of {run.of} in the file")
    return SEPARATOR.join(parts)


def losses(run: WatchedRun) -> str:
    """The first, the smallest and the last loss."""
    finite = run.losses[np.isfinite(run.losses)]
    if not len(run.losses):
        return "no loss was given: watcher.loss(loss) before each step"
    if not len(finite):
        return f"not finite at any of the {len(run.losses):,} steps that have one"
    last = f"{run.losses[-1]:.4g}" if np.isfinite(run.losses[-1]) else "not finite"
    return f"{finite[0]:.4g} at first, {finite.min():.4g} at best, {last} at last"


def facts(run: WatchedRun) -> list[tuple[str, str]]:
    """How the run was watched."""
    start = run.start
    readings = f"{len(run.at):,}"
    if "every" in start:
        readings += f", one every {start['every']} steps or fewer"
    versions = (f"{name} {version}" for name, version in start.get("versions", {}).items())
    rows = [
        ("optimizer", ".".join(filter(None, [start.get("module"), start.get("optimizer")]))),
        ("began", start.get("time", "")),
        ("loss", losses(run)),
        ("readings", readings),
        ("versions", ", ".join(versions)),
    ]
    return [(name, text) for name, text in rows if text]


def groups(run: WatchedRun) -> list[tuple[str, str]]:
    """The hyperparameters of each parameter group at the start."""
    rows = [
        ", ".join(f"{name} {_value(value)}" for name, value in group.items() if value is not False)
        for group in run.start.get("groups", [])
    ]
    return [(f"group {i}" if len(rows) > 1 else "group", row) for i, row in enumerate(rows)]


def sentence(alert: Mapping[str, Any]) -> str:
    """An alert as the console prints it."""
    fields = {name: alert[name] for name in Alert.__dataclass_fields__ if name in alert}
    return str(Alert(**{"averted": "", **fields}))


def as_text(run: WatchedRun, title: str) -> str:
    """A report in a few lines.

    Args:
        run: the run.
        title: its name, such as the file's.
    """
    alerts = [f"{i}. {sentence(alert)}" for i, alert in enumerate(run.alerts, start=1)]
    return "\n".join(
        [
            f"{title}: {summary(run).replace(SEPARATOR, ', ')}",
            f"loss {losses(run)}",
            headline(run),
            *alerts,
        ]
    )


def as_json(run: WatchedRun) -> dict[str, Any]:
    """A report as plain data: the run, its alerts, and the last and worst readings per layer.

    Args:
        run: the run.
    """
    names = [quantity.name for quantity in available_quantities(run)]
    layers = {layer: _layer(run, names, i) for i, layer in enumerate(run.layers)}
    whole = layers.pop(WHOLE_MODEL, None) or next(iter(layers.values()), {})
    return {
        "run": run.start,
        "steps": run.last,
        "loss": {
            "first": _finite_at(run.losses, 0),
            "best": _minimum(run.losses),
            "last": _finite_at(run.losses, -1),
        },
        "alarms": run.alerts,
        "whole": whole,
        "layers": [{"layer": layer, **values} for layer, values in layers.items()],
    }


def _layer(run: WatchedRun, names: Sequence[str], i: int) -> dict[str, Any]:
    rows = {name: run.values[name][i][np.isfinite(run.values[name][i])] for name in names}
    return {
        name: {"last": float(row[-1]), "largest": float(row.max())}
        for name, row in rows.items()
        if len(row)
    }


def _finite_at(values: np.ndarray, i: int) -> float | None:
    return float(values[i]) if len(values) and np.isfinite(values[i]) else None


def _minimum(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else None


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_value, value)) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)

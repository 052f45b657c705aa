"""WatchedRun: a run's record as arrays of losses and readings, with its alerts in order."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.monitor import ALL
from betaplane.monitor.quantities.aggregates import COMBINED, combine
from betaplane.text import printable

Row = Mapping[str, Any]
# a matrix of layers and steps may have this many cells per reading, and this many in any case
MAX_CELLS_PER_READING = 50
MIN_CELLS_ALLOWED = 1_000_000
WHERE = "report"
REQUIRED_FIELDS = {  # by the kind of line
    "reading": {"layer": str, "step": int},
    "losses": {"steps": [int], "values": list},
    "alert": {
        "step": int,
        "layer": str,
        "cause": str,
        "evidence": str,
        "why": str,
        "change": str,
        "source": str,
    },
}
REPLAYED_FIELDS = {
    "layer": str,
    "last": int,
    "actual": float | int | None,
    "band": float | int | None,
    "sizes": [float | int | None],
    "outcomes": [{"name": str, "peak": float | int | None, "averts": bool}],
}
OPTIONAL_FIELDS = {
    "start": {"optimizer": str, "module": str, "time": str, "groups": [dict], "versions": dict},
    "reading": {"shape": [int]},
    "alert": {
        "averted": str,
        "replayed": REPLAYED_FIELDS,
        "rule": str,
        "batch": list,
        "action": str,
    },
}
NOT_REPLAYED = ("replayed", {})
WHOLE_MODEL = "whole model"
OLD_CAUSES = {"second moment lost in its type": "second moment underflow"}  # in older records
_ORDER = {detector.cause: i for i, detector in enumerate(ALL)}


@dataclass(frozen=True)
class WatchedRun:
    """One run of a record.

    Args:
        start: the run's metadata, see `betaplane.monitor.sinks.describe_run`; empty if the record
            has none.
        steps: steps that have a loss, (N,), increasing.
        losses: their losses, (N,); nan if they were not finite.
        layers: names of the L tensors that were read; if there are several, the first one is the
            whole model.
        at: steps that were read, (R,), increasing.
        values: the values of each quantity, (L, R); nan if there is none.
        alerts: the alerts, the likeliest cause first.
        number: the run's number in the record, from 1.
        of: the number of runs in the record.
    """

    start: Row
    steps: np.ndarray
    losses: np.ndarray
    layers: list[str]
    at: np.ndarray
    values: dict[str, np.ndarray]
    alerts: list[Row]
    number: int
    of: int

    @property
    def last(self) -> int:
        """The last step with a loss, a reading or an alert."""
        alert_steps = (alert["step"] for alert in self.alerts)
        return int(max([0, *self.steps[-1:], *self.at[-1:], *alert_steps]))


def watched_run(rows: Sequence[Row], number: int | None = None) -> WatchedRun:
    """A run from the lines of a record.

    Args:
        rows: the result of `betaplane.monitor.read_lines`.
        number: which of several runs, from 1; by default the last.

    Raises:
        BadInput: there is no such run, nothing was read, or a line lacks a field or has a field of
            the wrong type.

    Example:
        >>> run = watched_run([
        ...     {"kind": "losses", "steps": [1, 2], "values": [0.5, None]},
        ...     {"kind": "reading", "layer": "weight", "step": 1, "lag": 1.0},
        ... ])
        >>> run.layers, run.last, run.values["lag"].tolist()
        (['weight'], 2, [[1.0]])
    """
    runs = _split_runs([_printable(row) for row in rows])
    if number is not None and not 1 <= number <= len(runs):
        raise BadInput(
            "There is no such run in the record",
            value=number,
            allowed=f"1 to {len(runs)}",
            where=WHERE,
            instead="number=1",
        )
    run_rows = runs[(number or len(runs)) - 1] if runs else []
    _check(run_rows)
    by_kind = {kind: [row for row in run_rows if row["kind"] == kind] for kind in REQUIRED_FIELDS}
    steps, losses = _losses(by_kind["losses"])
    at, layers, values = _matrices(by_kind["reading"])
    return WatchedRun(
        start=next((row for row in run_rows if row["kind"] == "start"), {}),
        steps=steps,
        losses=losses,
        layers=layers,
        at=at,
        values=values,
        alerts=_alerts(by_kind["alert"]),
        number=number or len(runs),
        of=len(runs),
    )


def _printable(value: Any, depth: int = 6) -> Any:
    """The value with control characters of its texts escaped, because names and messages are shown."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict) and depth:
        return {printable(name): _printable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list) and depth:
        return [_printable(item, depth - 1) for item in value]
    return value


def _split_runs(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each run; a run begins with its start line, or with the record."""
    runs: list[list[Row]] = []
    for row in rows:
        kind = row.get("kind", "")
        if not isinstance(kind, str):
            raise _unusable("A line", "kind", kind)
        if kind == "start" or (kind in REQUIRED_FIELDS and not runs):
            runs.append([])
        if kind == "start" or kind in REQUIRED_FIELDS:
            runs[-1].append(row)
    return runs


def _check(rows: Sequence[Row]) -> None:
    for row in rows:
        kind = row["kind"]
        optional = {
            name: form
            for name, form in OPTIONAL_FIELDS.get(kind, {}).items()
            if name in row and (name, row[name]) != NOT_REPLAYED
        }
        for name, value in _misfits(row, {**REQUIRED_FIELDS.get(kind, {}), **optional}):
            raise _unusable(f"A line of kind {kind}", name, value)
    if not any(row["kind"] in REQUIRED_FIELDS for row in rows):
        raise BadInput(
            "Nothing was read in this run",
            allowed="a record of a watched run",
            where=WHERE,
            instead='betaplane.watch(optimizer, path="run.jsonl")',
        )


def _unusable(line: str, name: str, value: Any) -> BadInput:
    return BadInput(
        f"{line} has no usable {name}", value=value, allowed="lines that watch wrote", where=WHERE
    )


def _misfits(value: Any, form: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a value that do not have the form, by name.

    A form is a type, [the form of every item], or {a name: the form of its value}.
    """
    if isinstance(form, dict) and isinstance(value, Mapping):
        for key, inner in form.items():
            yield from _misfits(value.get(key), inner, f"{name}.{key}".removeprefix("."))
    elif isinstance(form, list) and isinstance(value, list):
        for item in value:
            yield from _misfits(item, form[0], name)
    elif isinstance(form, (dict, list)) or not isinstance(value, form) or _is_huge(value):
        yield name, value


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > sys.maxsize


def _alerts(rows: Sequence[Row]) -> list[Row]:
    """The alerts in order, with today's names of their causes."""
    alerts = [{**row, "cause": OLD_CAUSES.get(row["cause"], row["cause"])} for row in rows]
    return sorted(alerts, key=lambda row: (row["step"], _ORDER.get(row["cause"], len(ALL))))


def _losses(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    by_step = {
        step: value
        for row in rows
        for step, value in zip(row["steps"], row["values"], strict=False)
    }
    steps = sorted(by_step)
    values = [_number(by_step[step]) for step in steps]
    return np.array(steps, dtype=int), np.array(values, dtype=float)


def _matrices(rows: Sequence[Row]) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Readings as matrices, one for every number or bool in a row."""
    at = sorted({row["step"] for row in rows})
    layers = [*dict.fromkeys(row["layer"] for row in rows)]
    _check_density(rows, layers, at)
    names = {
        name for row in rows for name, value in row.items() if isinstance(value, (int, float))
    } - {"step"}
    column_of = {step: i for i, step in enumerate(at)}
    row_of = {layer: i for i, layer in enumerate(layers)}
    values = {name: np.full((len(layers), len(at)), np.nan) for name in names}
    for row in rows:
        i, j = row_of[row["layer"]], column_of[row["step"]]
        for name in names:
            values[name][i, j] = _number(row.get(name))
    sizes = {
        row["layer"]: math.prod(row["shape"]) for row in rows if isinstance(row.get("shape"), list)
    }
    if len(layers) > 1 and len(sizes) == len(layers) and WHOLE_MODEL not in layers:
        layer_sizes = np.array([sizes[layer] for layer in layers], dtype=float)
        values = _with_whole_model(values, layer_sizes)
        layers = [WHOLE_MODEL, *layers]
    return np.array(at, dtype=int), layers, values


def _check_density(rows: Sequence[Row], layers: Sequence[str], at: Sequence[int]) -> None:
    """Raise BadInput if almost all cells of the matrices would be empty."""
    cells = len(at) * len(layers)
    if cells > MAX_CELLS_PER_READING * len(rows) + MIN_CELLS_ALLOWED:
        raise BadInput(
            "Hardly two readings are of one step",
            value=f"{len(rows):,} readings of {len(layers):,} layers at {len(at):,} steps",
            allowed="lines that watch wrote",
            where=WHERE,
        )


def _with_whole_model(values: dict[str, np.ndarray], sizes: np.ndarray) -> dict[str, np.ndarray]:
    """The matrices with a first row for the whole model; nan if it has no such quantity."""
    needed = {"ratio": ("weight_rms",), "snr": ("update_rms", "beta1")}
    extended = {}
    for name, matrix in values.items():
        first = np.full(matrix.shape[1], np.nan)
        if name in COMBINED and all(other in values for other in needed.get(name, ())):
            first = combine(name, values, sizes)
        extended[name] = np.vstack([np.where(np.isfinite(first), first, np.nan), matrix])
    return extended


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max:
        return float(value)
    return np.nan

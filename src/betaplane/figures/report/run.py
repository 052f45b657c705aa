"""A watched run as arrays: losses over steps, one matrix of layers and steps for every quantity,
alarms in order.
"""

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
# cells of a matrix of layers and steps that stand for a reading; in any record
SPARSEST, FEWEST = 50, 1_000_000
WHERE = "report"
HAS = {  # what the lines of each kind must say
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
REPLAYED = {
    "layer": str,
    "last": int,
    "actual": float | int | None,
    "band": float | int | None,
    "sizes": [float | int | None],
    "outcomes": [{"name": str, "peak": float | int | None, "averts": bool}],
}
MAY = {  # and what some of them say besides
    "start": {"optimizer": str, "module": str, "time": str, "groups": [dict], "versions": dict},
    "reading": {"shape": [int]},
    "alert": {"averted": str, "replayed": REPLAYED},
}
NONE = ("replayed", {})  # where nothing could be replayed
WHOLE = "whole model"
_ORDER = {detector.cause: i for i, detector in enumerate(ALL)}


@dataclass(frozen=True)
class WatchedRun:
    """One run of a record.

    Args:
        start: what was trained, as `betaplane.monitor.sinks.describe_run` gives it; empty where the record lacks it.
        steps: steps that have a loss, (N,), increasing.
        losses: their losses, (N,); nan where they were not finite.
        layers: names of the tensors that were read, L of them; the first is all of them as one where there are several.
        at: steps that were read, (R,), increasing.
        values: for each quantity its numbers, (L, R); nan where there is none.
        alerts: the alarms, the likeliest cause first.
        number: which run of the record it is, from 1.
        of: how many there are.
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
        """The last step that anything is known of."""
        return int(
            max([0, *self.steps[-1:], *self.at[-1:], *(alert["step"] for alert in self.alerts)])
        )


def watched_run(rows: Sequence[Row], number: int | None = None) -> WatchedRun:
    """A run from the lines of a record.

    Args:
        rows: as `betaplane.monitor.read_lines` gives them.
        number: which run where there are several, from 1; the last where None.

    Raises:
        BadInput: there is no such run, nothing was read, or a line lacks what it must say or says it in another form.

    Example:
        >>> run = watched_run([
        ...     {"kind": "losses", "steps": [1, 2], "values": [0.5, None]},
        ...     {"kind": "reading", "layer": "weight", "step": 1, "lag": 1.0},
        ... ])
        >>> run.layers, run.last, run.values["lag"].tolist()
        (['weight'], 2, [[1.0]])
    """
    runs = _runs([_clean(row) for row in rows])
    if number is not None and not 1 <= number <= len(runs):
        allowed = f"1 to {len(runs)}"
        raise BadInput(
            "There is no such run in the record",
            value=number,
            allowed=allowed,
            where=WHERE,
            instead="--run 1",
        )
    found = runs[(number or len(runs)) - 1] if runs else []
    _check(found)
    kinds = {kind: [row for row in found if row["kind"] == kind] for kind in HAS}
    steps, losses = _losses(kinds["losses"])
    at, layers, values = _matrices(kinds["reading"])
    start = next((row for row in found if row["kind"] == "start"), {})
    alerts = sorted(
        kinds["alert"], key=lambda row: (row["step"], _ORDER.get(row["cause"], len(ALL)))
    )
    return WatchedRun(
        start, steps, losses, layers, at, values, alerts, number or len(runs), len(runs)
    )


def _clean(value: Any, deep: int = 6) -> Any:
    """The value with the control characters of its texts escaped: names and messages are shown as a
    record has them.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict) and deep:
        return {printable(name): _clean(each, deep - 1) for name, each in value.items()}
    return [_clean(each, deep - 1) for each in value] if isinstance(value, list) and deep else value


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each run: a new one begins with its start, or where the record does."""
    runs: list[list[Row]] = []
    for row in rows:
        kind = row.get("kind", "")
        if not isinstance(kind, str):
            raise _unusable("A line", "kind", kind)
        if kind == "start" or (kind in HAS and not runs):
            runs.append([])
        if kind == "start" or kind in HAS:
            runs[-1].append(row)
    return runs


def _check(rows: Sequence[Row]) -> None:
    for row in rows:
        kind = row["kind"]
        may = {
            name: form
            for name, form in MAY.get(kind, {}).items()
            if name in row and (name, row[name]) != NONE
        }
        for name, value in _misfits(row, {**HAS.get(kind, {}), **may}):
            raise _unusable(f"A line of kind {kind}", name, value)
    if not any(row["kind"] in HAS for row in rows):
        instead = 'betaplane.watch(optimizer, path="run.jsonl")'
        raise BadInput(
            "Nothing was read in this run",
            allowed="a record of a watched run",
            where=WHERE,
            instead=instead,
        )


def _unusable(line: str, name: str, value: Any) -> BadInput:
    return BadInput(
        f"{line} has no usable {name}", value=value, allowed="lines that watch wrote", where=WHERE
    )


def _misfits(value: Any, form: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is not of its form, by name: a type, [the form of every item], or {a name: the form of
    what it names}.
    """
    if isinstance(form, dict) and isinstance(value, Mapping):
        for key, inner in form.items():
            yield from _misfits(value.get(key), inner, f"{name}.{key}".removeprefix("."))
    elif isinstance(form, list) and isinstance(value, list):
        for each in value:
            yield from _misfits(each, form[0], name)
    elif isinstance(form, (dict, list)) or not isinstance(value, form) or _huge(value):
        yield name, value


def _huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > sys.maxsize


def _losses(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    found = {
        step: value
        for row in rows
        for step, value in zip(row["steps"], row["values"], strict=False)
    }
    steps = sorted(found)
    return np.array(steps, dtype=int), np.array(
        [_number(found[step]) for step in steps], dtype=float
    )


def _matrices(rows: Sequence[Row]) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Readings side by side: every number and truth that a row has is a quantity."""
    at = sorted({row["step"] for row in rows})
    layers = [*dict.fromkeys(row["layer"] for row in rows)]
    names = {
        name for row in rows for name, value in row.items() if isinstance(value, (int, float))
    } - {"step"}
    if len(at) * len(layers) > SPARSEST * len(rows) + FEWEST:
        size = f"{len(rows):,} readings of {len(layers):,} layers at {len(at):,} steps"
        raise BadInput(
            "Hardly two readings are of one step",
            value=size,
            allowed="lines that watch wrote",
            where=WHERE,
        )
    column, line = (
        {step: i for i, step in enumerate(at)},
        {layer: i for i, layer in enumerate(layers)},
    )
    values = {name: np.full((len(layers), len(at)), np.nan) for name in names}
    for row in rows:
        for name in names:
            values[name][line[row["layer"]], column[row["step"]]] = _number(row.get(name))
    sizes = {
        row["layer"]: math.prod(row["shape"]) for row in rows if isinstance(row.get("shape"), list)
    }
    if len(layers) > 1 and len(sizes) == len(layers) and WHOLE not in layers:
        values = _with_whole(values, np.array([sizes[layer] for layer in layers], dtype=float))
        layers = [WHOLE, *layers]
    return np.array(at, dtype=int), layers, values


def _with_whole(values: dict[str, np.ndarray], sizes: np.ndarray) -> dict[str, np.ndarray]:
    """The matrices with a line for all tensors as one before the others; nan where that has no
    meaning.
    """
    needs = {"ratio": ("weight_rms",), "snr": ("update_rms", "beta1")}
    found = {}
    for name, each in values.items():
        has = name in COMBINED and all(other in values for other in needs.get(name, ()))
        first = combine(name, values, sizes) if has else np.full(each.shape[1], np.nan)
        found[name] = np.vstack([np.where(np.isfinite(first), first, np.nan), each])
    return found


def _number(value: Any) -> float:
    return (
        float(value)
        if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
        else np.nan
    )

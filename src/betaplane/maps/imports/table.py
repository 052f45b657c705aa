"""Runs in a table: CSV, JSON Lines or Parquet, one row per run or per logged loss.

The columns are settings, and optionally seed, step and run. Rows with equal settings, seed and run
are one run; if there is a column of steps, they are its losses in the order of the steps.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, nearest, not_installed
from betaplane.maps.imports.imported_run import (
    ImportedRun,
    as_number,
    numeric_settings,
)

LOSSES = (
    "final_loss",
    "final",
    "loss",
    "train_loss",
    "value",
    "objective",
    "eval_loss",
    "val_loss",
)
STEPS = ("step", "_step", "global_step", "steps", "iteration", "epoch")
SEEDS = ("seed", "random_seed")
RUNS = ("run", "run_id", "trial", "number", "name", "id", "trial_id")
SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"}


def read_table(path: Path, loss: str | None) -> list[ImportedRun]:
    """The runs in a table.

    Args:
        path: the file; its suffix says what it is.
        loss: the column of the loss; by default the first of LOSSES that there is.

    Raises:
        BadInput: it cannot be read, or has no column of losses.
    """
    rows = _rows(path)
    if not rows:
        raise BadInput("The table has no rows", value=str(path), where="source")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    column = _loss_column(columns, loss, path)
    step = next((name for name in STEPS if name in columns and name != column), None)
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_identity(row, column, step), []).append(row)
    runs = [run for rows in groups.values() for run in _runs(rows, column, step)]
    if not runs:
        raise BadInput(
            "No row of the table has a loss", value=column, where=str(path), instead='loss="final"'
        )
    return runs


def _runs(rows: list[Mapping[str, Any]], column: str, step: str | None) -> list[ImportedRun]:
    """The runs of rows with equal settings; without steps, each row is a run of its own."""
    parts = [[row] for row in rows] if step is None else [_ordered(rows, step)]
    return [run for part in parts if (run := _run(part, column, step))]


def _ordered(rows: list[Mapping[str, Any]], step: str) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: as_number(row.get(step)) or 0.0)


def _run(rows: list[Mapping[str, Any]], column: str, step: str | None) -> ImportedRun | None:
    losses = [as_number(row.get(column)) for row in rows]
    known = tuple(loss for loss in losses if loss is not None)
    if not known:
        return None
    row = rows[0]
    left_out = {column, step, *SEEDS, *RUNS, *STEPS, *LOSSES}
    settings = {name: value for name, value in row.items() if name not in left_out}
    seed = next((as_number(row[name]) for name in SEEDS if name in row), None)
    origin = next((str(row[name]) for name in RUNS if name in row), "")
    is_final = step is None or len(known) == 1
    return ImportedRun(numeric_settings(settings), known, int(seed or 0), is_final, origin)


def _identity(row: Mapping[str, Any], column: str, step: str | None) -> tuple:
    """What distinguishes the run of a row: its name, or else its settings and seed."""
    names = [name for name in RUNS if row.get(name) not in (None, "")]
    if names:
        return tuple(str(row[name]) for name in names)
    skipped = {column, step, *LOSSES, *STEPS}
    return tuple(sorted((name, str(value)) for name, value in row.items() if name not in skipped))


def _loss_column(columns: list[str], loss: str | None, path: Path) -> str:
    if loss is None:
        found = next((name for name in LOSSES if name in columns), None)
    else:
        found = loss if loss in columns else None
    if found is None:
        close = nearest(loss or "loss", columns, columns[-1])
        raise BadInput(
            "The table has no column of losses" if loss is None else f"There is no column {loss!r}",
            value=", ".join(columns[:12]),
            allowed=f"one of {', '.join(LOSSES)}" if loss is None else "one of its columns",
            where=str(path),
            instead=f'loss="{close}"',
        )
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            return _parquet_rows(path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(
            f"The table cannot be read ({reason})", value=str(path), where="source"
        ) from error
    if path.suffix in (".csv", ".tsv"):
        reader = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",")
        return [{k.strip(): v for k, v in row.items() if k is not None} for row in reader]
    return _json_rows(text, path)


def _json_rows(text: str, path: Path) -> list[dict[str, Any]]:
    """The objects of JSON Lines, or of one JSON list."""
    try:
        whole = text.lstrip().startswith("[")
        parsed = (
            json.loads(text) if whole else [json.loads(x) for x in text.splitlines() if x.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise BadInput("The table is not JSON Lines", value=str(error), where=str(path)) from error
    return [flatten(row) for row in parsed if isinstance(row, dict)]


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """Objects inside of objects, by their paths."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            values |= {f"{name}.{inner}": deeper for inner, deeper in flatten(value).items()}
        else:
            values[name] = value
    return values


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise not_installed("pyarrow", "frame", "import_sweep") from None
    try:
        rows: Iterable[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise BadInput("The file is not Parquet", value=str(error), where=str(path)) from error
    return [flatten(row) for row in rows]

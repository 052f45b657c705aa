"""MLflow's runs in a folder or an SQLite database, read without the mlflow package."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from betaplane.errors import BadInput

TABLES = {"runs", "params", "metrics"}
Values = dict[str, list[tuple[int, int, float]]]  # (step, time, value) by metric


@dataclass
class MlflowRun:
    """One run: its parameters, and the values of its metrics."""

    name: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: Values = field(default_factory=dict)

    def losses(self, metric: str) -> list[float]:
        """The values of a metric in the order of the steps."""
        return [value for _, _, value in sorted(self.metrics[metric], key=lambda row: row[:2])]


def is_tracking_folder(folder: Path) -> bool:
    """Whether a folder has experiments of MLflow."""
    return any(folder.glob("*/*/meta.yaml"))


def folder_runs(folder: Path) -> Iterator[MlflowRun]:
    """The runs in the experiments of a folder; deleted ones are skipped."""
    for meta in sorted(folder.glob("*/*/meta.yaml")):
        if "lifecycle_stage: deleted" in meta.read_text(encoding="utf-8"):
            continue
        run = MlflowRun(meta.parent.name)
        for path in _files(meta.parent / "params"):
            run.params[_name(path, meta.parent / "params")] = path.read_text(encoding="utf-8")
        for path in _files(meta.parent / "metrics"):
            rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
            run.metrics[_name(path, meta.parent / "metrics")] = [
                (int(row[2]) if len(row) > 2 else 0, int(row[0]), float(row[1])) for row in rows
            ]
        yield run


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def is_tracking_database(path: Path) -> bool:
    """Whether a file is an SQLite database with MLflow's tables."""
    try:
        with closing(_opened(path)) as db:
            rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return False
    return {name for (name,) in rows} >= TABLES


def database_runs(path: Path) -> Iterator[MlflowRun]:
    """The runs in a database; deleted ones are skipped.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with closing(_opened(path)) as db:
            active = (
                "SELECT run_uuid FROM runs WHERE lifecycle_stage != 'deleted' ORDER BY start_time"
            )
            runs = {name: MlflowRun(name) for (name,) in db.execute(active)}
            for key, value, name in db.execute("SELECT key, value, run_uuid FROM params"):
                if name in runs:
                    runs[name].params[key] = value
            query = "SELECT key, step, timestamp, value, is_nan, run_uuid FROM metrics"
            for key, step, time, value, is_nan, name in db.execute(query):
                if name in runs:
                    row = (step, time, float("nan") if is_nan else value)
                    runs[name].metrics.setdefault(key, []).append(row)
    except sqlite3.Error as error:
        raise BadInput(f"The database cannot be read ({error})", value=str(path)) from error
    yield from runs.values()


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

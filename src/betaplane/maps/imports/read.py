"""Read a finished sweep, whatever it was made with, and keep its runs in a store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.maps.imports.imported_run import ImportedRun
from betaplane.maps.imports.mlflow_runs import (
    database_runs,
    folder_runs,
    is_tracking_database,
    is_tracking_folder,
)
from betaplane.maps.imports.optuna_study import read_study
from betaplane.maps.imports.table import SUFFIXES, read_table
from betaplane.maps.imports.tracking import read_mlflow, read_tensorboard, read_wandb
from betaplane.maps.store.schema import IMPORTED
from betaplane.maps.store.store import Store
from betaplane.problems.commands.event_files import PATTERN

HAS_IMPORTS = "imported runs"  # name of a value in a store that has some
ALLOWED = (
    "a CSV, JSONL or Parquet file, the URL of an Optuna study (sqlite:///study.db), or a folder of "
    "MLflow, W&B or TensorBoard, or a database of MLflow"
)


def read_sweep(
    source: str, *, loss: str | None = None, study: str | None = None
) -> list[ImportedRun]:
    """The runs of a sweep.

    Args:
        source: a file, a folder, or the URL of a database.
        loss: name of the column or metric of the loss.
        study: name of the Optuna study.

    Raises:
        BadInput: it does not exist, is of an unknown kind, or has no run with a loss.
    """
    path = Path(source.removeprefix("sqlite:///")).expanduser()
    if path.is_file() and is_tracking_database(path):
        return read_mlflow(database_runs(path), source, loss)
    if "://" in source:
        return read_study(source, study)
    if path.is_file() and path.suffix in SUFFIXES:
        return read_table(path, loss)
    if path.is_dir():
        return _read_folder(path, loss)
    what = "The file is not a sweep" if path.exists() else "There is no such sweep"
    raise BadInput(what, value=source, allowed=ALLOWED, where="source")


def _read_folder(path: Path, loss: str | None) -> list[ImportedRun]:
    if next(path.rglob("*.wandb"), None):
        return read_wandb(path, loss)
    if next(path.rglob(PATTERN), None):
        return read_tensorboard(path, loss)
    if is_tracking_folder(path):
        return read_mlflow(folder_runs(path), str(path), loss)
    raise BadInput("The folder contains no runs", value=str(path), allowed=ALLOWED, where="source")


def import_runs(
    runs: Sequence[ImportedRun], store: str | Path, name: str, initial: float | None = None
) -> int:
    """Keep runs in a store; returns the number of new ones.

    A store that does not exist is created; the first map that uses it makes it a store of its
    problem.

    Args:
        runs: the runs.
        store: the file; a store of any problem, or a new one.
        name: the name of the problem in a new store.
        initial: the loss before training, for runs of which only the final loss is known.

    Raises:
        BadInput: a run needs `initial`, or the store cannot be written.
    """
    if initial is None and any(run.is_final for run in runs):
        raise BadInput(
            "The loss before training is not known: the sweep has final losses only",
            allowed="the loss of the untrained model, which scores 1",
            where="initial",
            instead=f"initial={math.log(10):.3g}  # for 10 classes",
        )
    path = Path(store)
    opened = Store.reopen(path) if path.exists() else Store.open(path, f"{IMPORTED} {name}", name)
    with opened:
        opened.meta[HAS_IMPORTS] = True
        return opened.finish([run.record(initial) for run in runs])

"""Runs of experiment trackers: MLflow, W&B, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.imports.imported_run import (
    ImportedRun,
    as_number,
    numeric_settings,
)
from betaplane.maps.imports.mlflow_runs import MlflowRun
from betaplane.maps.imports.table import LOSSES, flatten
from betaplane.maps.imports.wandb_runs import read_run_file
from betaplane.problems.commands.event_files import PATTERN, EventFile

SETTINGS_FILES = ("config.json", "hparams.json", "settings.json", "params.json", "hparams.yaml")


def read_mlflow(runs: Iterable[MlflowRun], source: str, loss: str | None) -> list[ImportedRun]:
    """The runs of MLflow that have the metric of the loss."""
    imported = []
    for run in runs:
        name = _metric(run.metrics, loss)
        if name is not None:
            imported.append(_run(run.params, run.losses(name), run.name))
    return _checked(imported, source, loss)


def read_wandb(folder: Path, loss: str | None) -> list[ImportedRun]:
    """The offline runs in a folder of W&B."""
    imported = []
    for path in sorted(folder.rglob("*.wandb")):
        config, rows = read_run_file(path)
        name = _metric({key: 0 for row in rows for key in row}, loss)
        if name is not None:
            losses = [number for row in rows if (number := as_number(row.get(name))) is not None]
            imported.append(_run(flatten(config), losses, path.stem))
    return _checked(imported, str(folder), loss)


def read_tensorboard(folder: Path, loss: str | None) -> list[ImportedRun]:
    """One run per folder with event files; its settings are in a JSON file next to them, or in the
    names of its folders: "beta1=0.9,beta2=0.99/seed=1".
    """
    runs = []
    for part in sorted({path.parent for path in folder.rglob(PATTERN)}):
        scalars = [s for path in sorted(part.glob(PATTERN)) for s in EventFile(path).read()]
        name = _metric({scalar.tag: 0 for scalar in scalars}, loss)
        if name is not None:
            ordered = sorted((s for s in scalars if s.tag == name), key=lambda s: s.step)
            settings = _folder_settings(part, folder)
            runs.append(_run(settings, [s.value for s in ordered], str(part.relative_to(folder))))
    return _checked(runs, str(folder), loss)


def _folder_settings(part: Path, root: Path) -> dict[str, Any]:
    names = part.relative_to(root).as_posix().replace("/", ",").split(",")
    settings: dict[str, Any] = dict(name.split("=", 1) for name in names if "=" in name)
    for name in SETTINGS_FILES:
        path = part / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            settings |= json.loads(text) if path.suffix == ".json" else _flat_yaml(text)
    return settings


def _flat_yaml(text: str) -> dict[str, str]:
    """The top-level scalars of a YAML file."""
    pairs = (line.partition(":") for line in text.splitlines() if line[:1].strip())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _metric(names: Mapping[str, Any], loss: str | None) -> str | None:
    """The metric of the loss: the one that is named, or the first with a usual name."""
    if loss is not None:
        return loss if loss in names else None
    usual = [name for short in LOSSES for name in names if name.rpartition("/")[2] == short]
    return usual[0] if usual else None


def _run(settings: Mapping[str, Any], losses: list[float], origin: str) -> ImportedRun:
    named = numeric_settings(settings)
    seed = int(named.pop("seed", 0))
    return ImportedRun(named, tuple(map(float, losses)), seed, len(losses) == 1, origin)


def _checked(runs: list[ImportedRun], source: str, loss: str | None) -> list[ImportedRun]:
    if not runs:
        raise BadInput(
            "There is no run with a loss",
            value=source,
            allowed=f"runs with the metric {loss!r}" if loss else f"a metric {', '.join(LOSSES)}",
            where="source",
            instead='loss="train/loss"',
        )
    return [run for run in runs if run.losses]

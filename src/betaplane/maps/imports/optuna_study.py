"""Trials of an Optuna study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, not_installed, unknown
from betaplane.maps.imports.imported_run import (
    ImportedRun,
    as_number,
    numeric_settings,
)


def read_study(url: str, study: str | None) -> list[ImportedRun]:
    """The finished trials of a study in a database.

    Args:
        url: a URL that Optuna accepts as storage, such as sqlite:///study.db.
        study: its name; may be omitted if there is only one.

    Raises:
        BadInput: Optuna is not installed, or there is no such study.
    """
    try:
        import optuna
    except ImportError:
        raise not_installed("optuna", "optuna", "import_sweep") from None
    _check_database(url)
    try:
        names = optuna.get_all_study_names(url)
    except Exception as error:  # of SQLAlchemy, which need not be installed
        text = str(error).splitlines()[0]
        raise BadInput(f"The study cannot be read ({text})", value=url, where="source") from error
    if not names:
        raise BadInput("The database contains no study", value=url, where="source")
    if study is None and len(names) > 1:
        raise BadInput(
            "The database contains several studies",
            allowed=f"one of {', '.join(names)}",
            where="study",
            instead=f"study={names[0]!r}",
        )
    if study is not None and study not in names:
        raise unknown("study", study, names, where=url, instead='study="{}"')
    return trial_runs(optuna.load_study(study_name=study or names[0], storage=url))


def _check_database(url: str) -> None:
    """Raise BadInput for a file that does not exist: Optuna would create it."""
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    if url.startswith("sqlite:///") and not path.exists():
        raise BadInput(
            "The database of the study does not exist",
            value=url,
            allowed="a file that exists",
            where="source",
        )


def trial_runs(study: Any) -> list[ImportedRun]:
    """The runs of a study's trials; failed ones diverged, and pruned ones are skipped: their final
    loss is not known.
    """
    return [run for trial in study.get_trials(deepcopy=False) if (run := trial_run(trial))]


def trial_run(trial: Any) -> ImportedRun | None:
    """The run of a trial; None if it has not ended or was pruned."""
    state = trial.state.name
    settings = {**trial.user_attrs, **trial.params}
    losses = [value for _, value in sorted(trial.intermediate_values.items())]
    if state == "FAIL":
        losses.append(math.nan)
    elif state == "COMPLETE":
        losses = losses if len(losses) > 1 else [trial.value]
    else:
        return None
    seed = int(as_number(settings.get("seed")) or 0)
    named = {name: value for name, value in numeric_settings(settings).items() if name != "seed"}
    only_final = len(losses) == 1
    return ImportedRun(named, tuple(losses), seed, only_final, f"trial {trial.number}")

"""`betaplane import`: a finished sweep as a map, and the most informative next runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from betaplane.maps import Sweep

Opt = typer.Option


def import_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A CSV, JSONL or Parquet file, the URL of an Optuna study, or a folder of W&B, "
            "MLflow or TensorBoard."
        ),
    ],
    store: Annotated[
        Optional[Path], Opt(help="File that keeps the runs, from which `map` continues.")
    ] = None,
    x: Annotated[
        Optional[str], Opt("--x", help="Horizontal axis [default: the first that varies].")
    ] = None,
    y: Annotated[Optional[str], Opt("--y", help="Vertical axis.")] = None,
    loss: Annotated[Optional[str], Opt(help="Column or metric of the loss.")] = None,
    study: Annotated[Optional[str], Opt(help="Name of the Optuna study.")] = None,
    initial: Annotated[
        Optional[float],
        Opt(help="Loss before training, if the sweep has final losses only."),
    ] = None,
    best: Annotated[
        Optional[float], Opt(help="Loss that scores 0 [default: the lowest final loss].")
    ] = None,
    next_: Annotated[
        int, Opt("--next", help="Number of runs to propose: the most informative ones.")
    ] = 8,
    good: Annotated[float, Opt(help="Score below which a run is good.")] = 0.05,
    failing: Annotated[float, Opt(help="Score above which a run fails.")] = 0.5,
    out: Annotated[Path, Opt(help="Folder for the picture and the page.")] = Path("out"),
    as_json: Annotated[
        bool, Opt("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Draw a finished sweep as a map, and propose the next runs.

    The table has one row per run, or per logged loss: settings such as beta1, beta2 and lr, and
    seed, step, and loss or final_loss. Runs stay where they are; a probability surface through
    them gives the verdict and P(fail) everywhere else.

    \b
    Examples:
      betaplane import sweep.csv --initial 2.3 --store out/sweep.sqlite
      betaplane import sqlite:///study.db --initial 2.3 --next 8 --json
      betaplane import mlruns --loss train/loss
    """
    from betaplane.cli.map_files import write_map
    from betaplane.maps import Thresholds, import_sweep

    sweep = import_sweep(
        source, x, y, store=store, loss=loss, study=study, initial=initial, best=best,
        thresholds=Thresholds(good, failing),
    )  # fmt: skip
    proposed = sweep.next_settings(next_)
    written, error = write_map(sweep.map, out)
    files = [*written.values()]
    if as_json:
        print(json.dumps(_payload(sweep, proposed, files), indent=2))
    else:
        _show(sweep, proposed, files)
    if error:
        raise error


def _payload(sweep: Sweep, proposed: list[dict[str, float]], files: list[str]) -> dict[str, Any]:
    from betaplane.maps import to_json

    return {**to_json(sweep.map), "next": proposed, "imported": sweep.imported, "files": files}


def _show(sweep: Sweep, proposed: list[dict[str, float]], files: list[str]) -> None:
    from rich.console import Console

    from betaplane import figures
    from betaplane.text import format_number, plural

    console = Console(highlight=False, markup=False)
    console.print(figures.terminal(sweep.map))
    console.print(figures.summary(sweep.map))
    if others := sweep.map.facts.get("also varied"):
        console.print(f"also varied: {others}")
    console.print(f"\nThe {plural(len(proposed), 'run')} that are the most informative next:")
    for settings in proposed:
        pairs = (f"{name}={format_number(name, value)}" for name, value in settings.items())
        console.print(f"  {'  '.join(pairs)}")
    for path in files:
        console.print(path, soft_wrap=True)

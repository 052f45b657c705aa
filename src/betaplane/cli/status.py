"""`betaplane status`: how far a map is, from any machine that sees its store."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from betaplane.maps.store.report import Report
    from betaplane.maps.store.status import Status


def status_command(
    store: Annotated[Path, typer.Argument(help="The file of --store, such as out/digits.sqlite.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Print how far a map is, and what its store contains.

    The process that computes a map reports its progress in a small file next to the store, which
    every machine that shares the folder can read. Only the machine that computes the map opens the
    store itself.

    \b
    Examples:
      betaplane status out/digits.sqlite
      betaplane status out/digits.sqlite --json
    """
    print_status(store, as_json, sys.stdout)


def is_elsewhere(store: Path) -> bool:
    """Whether another machine computes the map of this store now."""
    from betaplane.maps.store.report import read_report

    report = read_report(store)
    return report is not None and report.is_elsewhere


def print_status(store: Path, as_json: bool, result: TextIO) -> None:
    """Print the report and the contents of a store."""
    rows = _rows(store)
    if as_json:
        print(json.dumps(rows, indent=2), file=result)
        return
    for name, value in rows.items():
        print(f"{name:>24}  {value}", file=result)


def _rows(path: Path) -> dict[str, Any]:
    from betaplane.maps.store.report import read_report
    from betaplane.maps.store.store import Store

    report = read_report(path)
    rows: dict[str, Any] = {"store": str(path)}
    if report is not None and report.is_elsewhere:
        return {**rows, "problem": report.problem, **_reported(report)}
    with Store.reopen(path) as store:
        status = store.status()
    return {**rows, **_stored(status), **(_reported(report) if report else {}), **status.versions}


def _stored(status: Status) -> dict[str, Any]:
    return {
        "problem": status.problem,
        "trainings": status.runs,
        "under way": status.claimed_alive,
        "left by dead processes": status.claimed_dead,
        "seconds of training": round(status.seconds, 1),
        "created": status.created.isoformat(timespec="seconds"),
    }


def _reported(report: Report) -> dict[str, Any]:
    """The last report of the process that computes the map, or was killed."""
    state = "running" if report.is_running else "killed"
    return {
        "map": f"{state}, process {report.pid} on {report.host}",
        "executor": report.executor,
        "runs": f"{report.done:,} of {report.wanted:,} requested so far",
        "runs per second": round(report.rate, 2),
        "workers lost": report.lost,
        "reported": f"{max(0.0, time.time() - report.written):.0f} s ago",
    }

"""`betaplane report`: a watched run as a page, a picture, a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from betaplane.figures.report import WatchedRun

Opt = typer.Option
PAGE, PNG = "--out page.html", "--png picture.png"


def report_command(
    file: Annotated[Path, typer.Argument(help='What betaplane.watch(optimizer, path="run.jsonl") wrote.')],
    out: Annotated[Optional[Path], Opt(help="The page; run.html beside run.jsonl where left out.")] = None,
    png: Annotated[Optional[Path], Opt(help="Draw the loss and one quantity of every layer into this file.")] = None,
    quantity: Annotated[
        Optional[str], Opt(help="What is shown of the layers: update_rms, lag, ratio, below_eps, snr, ...")
    ] = None,
    run: Annotated[
        Optional[int], Opt("--run", help="Which run, from 1, where the file holds several: the last.")
    ] = None,
    as_json: Annotated[bool, Opt("--json", help="Print run, alarms and layers as JSON, nothing else.")] = False,
) -> None:
    """Show a watched run: the loss with its alarms, every layer over time, what each alarm rests on.

    It prints the alarms, the likeliest cause first, and writes a page that needs no network: the loss with the alarms
    marked, a map of every tensor over the steps for any quantity that was read, and for each alarm the evidence, what
    to change, the source, and the last steps replayed under other settings.

    Examples:
      betaplane report run.jsonl

      betaplane report run.jsonl --png run.png --quantity lag
    """
    from betaplane.figures import report
    from betaplane.monitor import read_lines

    page = out or (None if as_json else file.with_suffix(".html"))
    _check(file, page, png)
    found = report.watched_run(read_lines(file), run)
    chosen = report.quantity(found, quantity)
    if png is not None:
        _write(png, report.report_png(found, file.name, chosen), PNG)
    if page is not None:
        _write(page, report.report_html(found, file.name, chosen).encode(), PAGE)
    if as_json:
        typer.echo(json.dumps(report.as_json(found), indent=2, allow_nan=False))
    else:
        _show(found, file.name, [path for path in (page, png) if path])


def _check(file: Path, page: Path | None, png: Path | None) -> None:
    """Refuse to write over any file of the record."""
    from betaplane.cli.files import check_apart
    from betaplane.monitor.sinks.parts import parts

    for path, instead in ((page, PAGE), (png, PNG)):
        if path is not None:
            check_apart(path, [file, *parts(file)], instead)


def _write(path: Path, content: bytes, instead: str) -> None:
    from betaplane.cli.files import make_folder, write_whole

    make_folder(path.parent, instead)
    write_whole(path, content, instead)


def _show(found: WatchedRun, title: str, written: list[Path]) -> None:
    from betaplane.figures.report import as_text

    typer.echo(as_text(found, title))
    typer.echo(f"written: {', '.join(map(str, written))}")

"""`betaplane report`: a watched run as a page, a picture, a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from betaplane.text import printable

if TYPE_CHECKING:
    from betaplane.figures.report import WatchedRun

Opt = typer.Option
PAGE, PNG = "--out page.html", "--png picture.png"


def report_command(
    file: Annotated[
        Path, typer.Argument(help='What betaplane.watch(optimizer, path="run.jsonl") wrote.')
    ],
    out: Annotated[
        Optional[Path], Opt(help="The page; run.html beside run.jsonl where left out.")
    ] = None,
    png: Annotated[
        Optional[Path], Opt(help="Draw the loss and one quantity of every layer into this file.")
    ] = None,
    quantity: Annotated[
        Optional[str],
        Opt(help="What is shown of the layers: update_rms, lag, ratio, below_eps, snr, ..."),
    ] = None,
    run: Annotated[
        Optional[int],
        Opt("--run", help="Which run, from 1, where the file holds several: the last."),
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print run, alarms and layers as JSON, nothing else.")
    ] = False,
) -> None:
    """Show a watched run: the loss with its alarms, every layer over time, what each alarm rests
    on.

    It prints the alarms, the likeliest cause first, and writes a page that needs no network: the loss with the alarms
    marked, a map of every tensor over the steps for any quantity that was read, and for each alarm the evidence, what
    to change, the source, and the last steps replayed under other settings.

    Examples:
      betaplane report run.jsonl

      betaplane report run.jsonl --png run.png --quantity lag
    """
    from betaplane.cli.files import write_each
    from betaplane.figures import report
    from betaplane.monitor import read_lines

    page = out or (None if as_json else file.with_suffix(".html"))
    _check(file, page, png, out)
    found = report.watched_run(read_lines(file), run)
    chosen = report.quantity(found, quantity)
    pages = {page: report.report_html(found, file.name, chosen).encode()} if page else {}
    pictures = {png: report.report_png(found, file.name, chosen)} if png else {}
    (written, no_page), (drawn, no_picture) = write_each(pages, PAGE), write_each(pictures, PNG)
    if as_json:
        typer.echo(json.dumps(report.as_json(found), indent=2, allow_nan=False))
    else:
        _show(found, file.name, [*written, *drawn])
    if failed := no_page or no_picture:
        raise failed


def _check(file: Path, page: Path | None, png: Path | None, named: Path | None) -> None:
    """Refuse to write over any file of the record, and refuse files named by options that cannot be
    written.
    """
    from betaplane.cli.files import check_apart, check_file
    from betaplane.monitor.sinks.rotation import parts

    for path, instead in ((page, PAGE), (png, PNG)):
        if path is not None:
            check_apart(path, [file, *parts(file)], instead)
    for path, instead in ((named, PAGE), (png, PNG)):
        if path is not None:
            check_file(path, instead)


def _show(found: WatchedRun, title: str, written: list[Path]) -> None:
    from betaplane.figures.report import as_text

    typer.echo(printable(as_text(found, title), keep="\n"))
    if written:
        typer.echo(f"written: {', '.join(map(str, written))}")

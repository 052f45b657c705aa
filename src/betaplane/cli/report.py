"""`betaplane report`: a watched run as text, a page and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from betaplane.errors import BadInput
from betaplane.text import printable

if TYPE_CHECKING:
    from betaplane.figures.report import WatchedRun

Opt = typer.Option
PAGE, PNG = "--out page.html", "--png picture.png"


def report_command(
    file: Annotated[
        Optional[Path],
        typer.Argument(help='File that betaplane.watch(optimizer, path="run.jsonl") wrote.'),
    ] = None,
    out: Annotated[
        Optional[Path],
        Opt(help="Page to write [default: run.html next to run.jsonl]."),
    ] = None,
    png: Annotated[
        Optional[Path],
        Opt(help="Picture to write: the loss and one quantity of every layer."),
    ] = None,
    quantity: Annotated[
        Optional[str],
        Opt(help="Quantity of the layers: update_rms, lag, ratio, below_eps, snr, ..."),
    ] = None,
    run: Annotated[
        Optional[int],
        Opt("--run", help="Number of the run in the file, from 1 [default: the last]."),
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print run, alerts and layers as JSON and nothing else.")
    ] = False,
    check: Annotated[
        bool, Opt("--check", help="Exit with code 1 if the run has an alert, for scripts and CI.")
    ] = False,
    rules: Annotated[
        bool,
        Opt(
            "--rules",
            help="List the rules that a watched run is checked by, and stop.",
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Report a watched run: its loss, alerts and layers.

    The command prints the alerts, the likeliest cause first, and writes a page that needs no
    network. The page shows the loss with its alerts and a map of every tensor over the steps for
    each quantity. For each alert it shows the evidence, the remedy, the source, and the last steps
    replayed with other settings.

    \b
    Examples:
      betaplane report run.jsonl
      betaplane report run.jsonl --png run.png --quantity lag
      betaplane report run.jsonl --check
      betaplane report --rules
    """
    if rules:
        return _show_rules(as_json)
    if file is None:
        raise BadInput(
            "There is no record to report",
            value="no file",
            allowed="a record of a watched run",
            where="report",
            instead="betaplane report run.jsonl",
        )
    from betaplane.cli.files import write_each
    from betaplane.figures import report
    from betaplane.monitor import read_lines

    page = out or (None if as_json else file.with_suffix(".html"))
    _check(file, page, png, out)
    watched = report.watched_run(read_lines(file), run)
    shown = report.quantity(watched, quantity)
    pages = {page: report.report_html(watched, file.name, shown).encode()} if page else {}
    pictures = {png: report.report_png(watched, file.name, shown)} if png else {}
    written_pages, page_error = write_each(pages, PAGE)
    written_pictures, picture_error = write_each(pictures, PNG)
    if as_json:
        typer.echo(json.dumps(report.as_json(watched), indent=2, allow_nan=False))
    else:
        _show(watched, file.name, [*written_pages, *written_pictures])
    if error := page_error or picture_error:
        raise error
    if check and watched.alerts:
        raise typer.Exit(1)


def _show_rules(as_json: bool) -> None:
    """The id of each rule, the quantity it compares and its threshold."""
    from betaplane.cli.tables import borderless
    from betaplane.monitor import ALL

    if as_json:
        rows = [
            {"id": rule.id, "cause": rule.cause, "why": rule.why, **rule.limit._asdict()}
            for rule in ALL
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console

    table = borderless("rule", "what it compares", right=("threshold",))
    for rule in ALL:
        table.add_row(rule.id, f"{rule.limit.quantity} ({rule.limit.unit})", f"{rule.threshold:g}")
    Console().print(table)
    typer.echo('mute a rule: betaplane.watch(optimizer, mute=["dead-rows"])')


def _check(file: Path, page: Path | None, png: Path | None, out: Path | None) -> None:
    """Reject outputs that would replace a file of the record, or that cannot be written."""
    from betaplane.cli.files import check_apart, check_file
    from betaplane.monitor.sinks.rotation import full_files

    for path, option in ((page, PAGE), (png, PNG)):
        if path is not None:
            check_apart(path, [file, *full_files(file)], option)
    for path, option in ((out, PAGE), (png, PNG)):
        if path is not None:
            check_file(path, option)


def _show(watched: WatchedRun, title: str, written: list[Path]) -> None:
    from betaplane.figures.report import as_text

    typer.echo(printable(as_text(watched, title), keep="\n"))
    if written:
        typer.echo(f"written: {', '.join(map(str, written))}")

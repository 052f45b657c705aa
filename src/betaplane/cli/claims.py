"""`betaplane claims`: list, show, run and report the claims of the literature."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.cli.command import Command, Commands

if TYPE_CHECKING:
    from betaplane.claims.claim import Claim
    from betaplane.claims.result import Result

Opt = typer.Option
Names = Annotated[list[str], typer.Argument(help="Names of claims, or all.", show_default=False)]
StoreFolder = Annotated[
    Path, Opt("--store", help="Folder of the results, from which a run is resumed.")
]
Json = Annotated[bool, Opt("--json", help="Print JSON for a script.")]
STORE = Path("out/claims")

claims_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Re-check published claims about Adam.

    Each claim has an experiment at a size that a laptop can run, and a rule that is stated
    beside its numbers: it holds, holds when a condition is met, does not hold here, or is undecided.

    Start with `betaplane claims list`, then `betaplane claims run first-step`.""",
)


def list_command(store: StoreFolder = STORE, as_json: Json = False) -> None:
    """List the claims with their verdicts.

    A verdict is that of the result in the store, or else of the one in the package.

    \b
    Examples:
      betaplane claims list
      betaplane claims list --json
    """
    from betaplane.claims.catalog import ALL, load_claim
    from betaplane.claims.store import ClaimStore, latest
    from betaplane.cli.catalog import print_rows

    rows = []
    for claim in map(load_claim, ALL):
        result = latest(claim, ClaimStore(store))
        verdict = "not run" if result is None else result.verdict(claim).text
        seconds = "" if result is None else f"{result.seconds:.1f}"
        row = {"name": claim.name, "verdict": verdict, "seconds": seconds, "title": claim.title}
        rows.append(row)
    print_rows(rows, as_json)


def show_command(
    name: Annotated[str, typer.Argument(help="Name of a claim.")],
    store: StoreFolder = STORE,
    as_json: Json = False,
) -> None:
    """Print a claim, its sources, its rule and its latest result.

    \b
    Examples:
      betaplane claims show update-bound
      betaplane claims show grokking --json
    """
    from betaplane.claims.catalog import load_claim
    from betaplane.claims.store import ClaimStore, latest
    from betaplane.cli.claim_text import claim_data, print_claim

    claim = load_claim(name)
    result = latest(claim, ClaimStore(store))
    if as_json:
        print(json.dumps(claim_data(claim, result), indent=2))
    else:
        print_claim(claim, result)


def run_command(
    names: Names,
    size: Annotated[
        Optional[list[float]],
        Opt(help="Measure at this size instead of the claim's own; repeat it for several."),
    ] = None,
    slow: Annotated[bool, Opt("--slow", help="With all: run the slow claims too.")] = False,
    workers: Annotated[
        Optional[int], Opt(help="Claims that run at the same time [default: one per core].")
    ] = None,
    again: Annotated[bool, Opt("--again", help="Run claims that have a result, too.")] = False,
    store: StoreFolder = STORE,
    as_json: Json = False,
) -> None:
    """Run claims and print what was measured, with the verdict.

    Every finished claim is saved; the same command resumes.

    \b
    Examples:
      betaplane claims run first-step
      betaplane claims run all
      betaplane claims run heavy-tails --size 1024
    """
    from betaplane.cli.claim_session import run_claims
    from betaplane.cli.claim_text import claim_data, print_claim

    done: list[dict[str, Any]] = []

    def finished(claim: Claim, result: Result) -> None:
        if as_json:
            done.append(claim_data(claim, result))
        else:
            print_claim(claim, result)
            sys.stdout.flush()

    run_claims(names, size or (), slow, workers, again, store, finished)
    if as_json:
        print(json.dumps(done, indent=2))


def report_command(
    out: Annotated[Path, Opt(help="The page to write.")] = Path("claims.html"),
    markdown: Annotated[
        Optional[Path], Opt(help="Also write Markdown pages and pictures to this folder.")
    ] = None,
    store: StoreFolder = STORE,
) -> None:
    """Write all results as one self-contained page.

    Claims without a result in the store are reported from the results that the package contains.

    \b
    Examples:
      betaplane claims report --out claims.html
      betaplane claims report --markdown pages
    """
    from betaplane.claims.report import html_page, markdown_pages
    from betaplane.claims.store import ClaimStore
    from betaplane.cli.files import write_each

    contents = {out: html_page(ClaimStore(store)).encode()}
    if markdown is not None:
        pages = markdown_pages(ClaimStore(store))
        contents |= {markdown / name: text.encode() for name, text in pages.items()}
    written, error = write_each(contents, "--out claims.html")
    for path in written:
        print(path)
    if error is not None:
        raise error


COMMANDS = {
    "list": list_command,
    "show": show_command,
    "run": run_command,
    "report": report_command,
}


def add_commands(stoppable: Any) -> typer.Typer:
    """The group with its commands, each wrapped so that Ctrl-C ends it in a sentence."""
    for name, command in COMMANDS.items():
        claims_app.command(name, cls=Command)(stoppable(command))
    return claims_app

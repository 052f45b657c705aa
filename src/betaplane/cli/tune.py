"""`betaplane tune`: betas in a few trainings, by raising beta2 and then trying beta1."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from betaplane.maps import Progress, Tuned

Opt = typer.Option


def tune_command(
    problem: Annotated[
        str, typer.Argument(help="A built-in problem or path/to/file.py:name.")
    ] = "digits",
    seeds: Annotated[int, Opt(help="Trainings of every setting.")] = 2,
    steps: Annotated[Optional[int], Opt(help="Optimizer steps of a training.")] = None,
    lr: Annotated[Optional[float], Opt(help="Peak learning rate.")] = None,
    batch_size: Annotated[Optional[int], Opt(help="Examples a step.")] = None,
    rule: Annotated[str, Opt(help="Update rule with two betas (see `betaplane rules`).")] = "adam",
    workers: Annotated[
        Optional[int], Opt(help="Worker processes; one a core unless you say.")
    ] = None,
    store: Annotated[
        Optional[Path], Opt(help="File that keeps every finished training, as a map's.")
    ] = None,
    as_json: Annotated[bool, Opt("--json", help="Print the result as JSON, nothing else.")] = False,
) -> None:
    """Find betas in a few trainings.

    Halves 1 - beta2 until the loss falls no further, then tries beta1 below sqrt(beta2), and both
    again while it helps.

    Examples:
      betaplane tune digits

      betaplane tune my_problem.py:problem --store out/tune.sqlite
    """
    result = sys.stdout
    with redirect_stdout(sys.stderr):  # what a problem file prints is no part of the result
        from betaplane.cli.parse import rule as rule_of
        from betaplane.maps import tune

        given = {"steps": steps, "lr": lr, "batch_size": batch_size, "seeds": seeds}
        how = {name: value for name, value in given.items() if value is not None}
        found = tune(problem, store=store, workers=workers, watch=_told, rule=rule_of(rule), **how)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2), file=result)
    else:
        _show(found)


def _told(progress: Progress) -> None:
    if sys.stderr.isatty():
        print(
            f"\r{progress.done} trainings, {progress.seconds:.0f} s",
            end="",
            file=sys.stderr,
            flush=True,
        )


def _show(found: Tuned) -> None:
    typer.echo(f"{found.problem}: {len(found.trials)} settings, as they were tried\n")
    typer.echo("     beta1      beta2       loss")
    for one in found.trials:
        mark = "  <- best" if (one.beta1, one.beta2) == (found.beta1, found.beta2) else ""
        typer.echo(f"{one.beta1:>10.6g} {one.beta2:>10.6g} {one.loss:>10.4g}{mark}")
    reason = found.reason[0].upper() + found.reason[1:]
    typer.echo(f"\nbetas=({found.beta1:g}, {found.beta2:g}), lr={found.fixed['lr']:g}: {reason}")
    if found.why_plain:
        typer.echo(f"Trained one run at a time, because {found.why_plain}.")

"""`betaplane tune`: find betas in a few runs."""

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
    seeds: Annotated[int, Opt(help="Runs per setting.")] = 2,
    steps: Annotated[Optional[int], Opt(help="Optimizer steps per run.")] = None,
    lr: Annotated[Optional[float], Opt(help="Peak learning rate.")] = None,
    batch_size: Annotated[Optional[int], Opt(help="Samples per step.")] = None,
    rule: Annotated[str, Opt(help="Update rule with two betas (see `betaplane rules`).")] = "adam",
    workers: Annotated[Optional[int], Opt(help="Worker processes [default: one per core].")] = None,
    store: Annotated[
        Optional[Path], Opt(help="File that stores finished runs; maps can share it.")
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Find betas in a few runs.

    The search halves 1 - beta2 until the loss stops falling, then tries beta1 below sqrt(beta2),
    and repeats both while the loss improves.

    \b
    Examples:
      betaplane tune digits
      betaplane tune my_problem.py:problem --store out/tune.sqlite
    """
    result = sys.stdout
    with redirect_stdout(sys.stderr):  # what a problem file prints is not part of the result
        from betaplane.cli.parse import rule as rule_of
        from betaplane.maps import tune

        options = {"steps": steps, "lr": lr, "batch_size": batch_size, "seeds": seeds}
        how = {name: value for name, value in options.items() if value is not None}
        tuned = tune(
            problem, store=store, workers=workers, watch=_progress, rule=rule_of(rule), **how
        )
    if as_json:
        print(json.dumps(tuned.to_dict(), indent=2), file=result)
    else:
        _show(tuned)


def _progress(progress: Progress) -> None:
    if sys.stderr.isatty():
        line = f"\r{progress.done} runs, {progress.seconds:.0f} s"
        print(line, end="", file=sys.stderr, flush=True)


def _show(tuned: Tuned) -> None:
    typer.echo(f"{tuned.problem}: {len(tuned.trials)} settings, in the order they were tried\n")
    typer.echo("     beta1      beta2       loss")
    for trial in tuned.trials:
        best = (trial.beta1, trial.beta2) == (tuned.beta1, tuned.beta2)
        mark = "  <- best" if best else ""
        typer.echo(f"{trial.beta1:>10.6g} {trial.beta2:>10.6g} {trial.loss:>10.4g}{mark}")
    reason = tuned.reason[0].upper() + tuned.reason[1:]
    typer.echo(f"\nbetas=({tuned.beta1:g}, {tuned.beta2:g}), lr={tuned.fixed['lr']:g}: {reason}")
    if tuned.why_plain:
        typer.echo(f"Trained one run at a time, because {tuned.why_plain}.")

"""`betaplane tune`: find a learning rate and betas in a few runs."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.cli import own_command, where

if TYPE_CHECKING:
    from betaplane.maps import Progress, Tuned

Opt = typer.Option


def tune_command(
    problem: Annotated[
        Optional[str],
        typer.Argument(
            help="A built-in problem or path/to/file.py:name [default: digits].",
            show_default=False,
        ),
    ] = None,
    command: own_command.CommandOpt = None,
    loss: own_command.LossOpt = None,
    timeout: own_command.TimeoutOpt = None,
    losses: own_command.LossesOpt = None,
    runs: own_command.RunsOpt = None,
    shell: own_command.ShellOpt = False,
    reads_environment: own_command.EnvironmentOpt = False,
    max_runs: Annotated[int, Opt(help="Maximum number of runs.")] = 48,
    seeds: Annotated[
        int, Opt(help="Fresh seeds that compare the best setting with the default.")
    ] = 4,
    steps: Annotated[Optional[int], Opt(help="Optimizer steps per run.")] = None,
    examples: Annotated[Optional[int], Opt(help="Examples per run, instead of --steps.")] = None,
    tokens: Annotated[Optional[int], Opt(help="Tokens per run, instead of --steps.")] = None,
    lr: Annotated[
        Optional[str],
        Opt(
            help="Peak learning rate to start from: 0.01, or fixed, or 0.01,fixed to try no others."
        ),
    ] = None,
    batch_size: Annotated[Optional[int], Opt(help="Samples per step.")] = None,
    rule: Annotated[str, Opt(help="Update rule with two betas (see `betaplane rules`).")] = "adam",
    device: where.DeviceOpt = None,
    workers: where.WorkersOpt = None,
    executor: where.ExecutorOpt = None,
    gpus: where.GpusOpt = None,
    per_gpu: where.PerGpuOpt = 1,
    store: Annotated[
        Optional[Path], Opt(help="File that stores finished runs; maps can share it.")
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Find a learning rate and betas in a few runs.

    The search starts at the default betas, tries learning rates first, then lr and betas together,
    and compares the best setting with the default on fresh seeds.

    \b
    Examples:
      betaplane tune digits
      betaplane tune my_problem.py:problem --store out/tune.sqlite
    """
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):  # what a problem file prints is not part of the result
        from betaplane.cli.parse import learning_rate
        from betaplane.cli.parse import rule as rule_of
        from betaplane.maps import tune
        from betaplane.replicas import Options

        rate, search_lr = learning_rate(lr)
        options = {"lr": rate, "batch_size": batch_size, "seeds": seeds}
        options |= {"steps": steps, "examples": examples, "tokens": tokens}
        how = {name: value for name, value in options.items() if value is not None}
        limits: dict[str, Any] = {"max_runs": max_runs, "search_lr": search_lr, "store": store}
        limits["options"] = Options(device=where.device_of(device, gpus))
        place = {"workers": workers, "executor": executor, "gpus": gpus, "per_gpu": per_gpu}
        own = {"timeout": timeout, "losses": losses, "runs": runs, "shell": shell}
        own["reads_environment"] = reads_environment
        source = own_command.training_source(problem, command, loss, own)
        tuned = tune(source, watch=_progress, rule=rule_of(rule), **limits, **place, **how)
    if as_json:
        print(json.dumps(tuned.to_dict(), indent=2), file=stdout)
    else:
        _show(tuned)


def _progress(progress: Progress) -> None:
    if sys.stderr.isatty():
        line = f"\r{progress.done} runs, {progress.seconds:.0f} s"
        print(line, end="", file=sys.stderr, flush=True)


def _show(tuned: Tuned) -> None:
    typer.echo(f"{tuned.problem}: {len(tuned.trials)} settings, in the order they were tried\n")
    typer.echo("        lr      beta1      beta2       loss  seeds")
    for trial in tuned.trials:
        chosen = (trial.lr, trial.beta1, trial.beta2) == (tuned.lr, tuned.beta1, tuned.beta2)
        numbers = f"{trial.lr:>10.4g} {trial.beta1:>10.6g} {trial.beta2:>10.6g} {trial.loss:>10.4g}"
        mark = "  <- use" if chosen else ""
        typer.echo(f"{numbers} {len(trial.finals):>6}{mark}")
    setting = f"betas=({tuned.beta1:g}, {tuned.beta2:g}), lr={tuned.lr:g}"
    reason = tuned.reason[0].upper() + tuned.reason[1:]
    answer = tuned.answer[0].upper() + tuned.answer[1:]
    typer.echo(f"\n{answer}: {setting}\n{reason}")
    if tuned.ignored:
        typer.echo(f"Warning: {tuned.ignored}.")
    if tuned.why_plain:
        typer.echo(f"Trained one run at a time, because {tuned.why_plain}.")

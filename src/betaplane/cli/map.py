"""`betaplane map`: map where training converges over two hyperparameters."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.cli import map_plan, own_command, where
from betaplane.cli.parse import axis_range, betas, budget, grid_shape, learning_rate

if TYPE_CHECKING:
    from betaplane.maps import Plan

AXIS = (
    "Horizontal axis: beta1, beta2, lr, eps, batch_size, weight_decay or an option of a built-in "
    "problem, optionally with a range: lr=1e-4:1e-1, n=5:50:linear. Before a setting may stand a "
    "parameter group: embedding.beta2. For a function or a command also a hyperparameter of your "
    "own: dropout=0.01:0.5."
)
AxisOpt = partial(typer.Option, rich_help_panel="Axes")
RunOpt = partial(typer.Option, rich_help_panel="Training")
SearchOpt = partial(typer.Option, rich_help_panel="Search")
OutOpt = partial(typer.Option, rich_help_panel="Output")


def map_command(
    problem: Annotated[
        Optional[str],
        typer.Argument(
            help="A built-in problem (see `betaplane problems`) or path/to/file.py:name "
            "[default: digits].",
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
    x: Annotated[str, AxisOpt("--x", help=AXIS)] = "beta1",
    y: Annotated[str, AxisOpt("--y", help="Vertical axis (same format as --x).")] = "beta2",
    points: Annotated[str, AxisOpt("--points", help="Cells per axis: 24, or 32x48.")] = "24",
    scale: Annotated[str, AxisOpt("--scale", help="Scale of the axes: log or linear.")] = "log",
    betas_: Annotated[
        Optional[str], AxisOpt("--betas", help="Your own setting, marked on the map: 0.9,0.98.")
    ] = None,
    strict: Annotated[
        bool, AxisOpt(help="Reject beta1 >= sqrt(beta2) instead of printing a warning.")
    ] = False,
    rule: Annotated[str, RunOpt(help="Update rule (see `betaplane rules`).")] = "adam",
    steps: Annotated[Optional[int], RunOpt(help="Optimizer steps per run.")] = None,
    examples: Annotated[
        Optional[int], RunOpt(help="Examples per run, at every batch size, instead of --steps.")
    ] = None,
    tokens: Annotated[Optional[int], RunOpt(help="Tokens per run, instead of --steps.")] = None,
    lr: Annotated[
        Optional[str],
        RunOpt(help="Peak learning rate: 0.01, or fixed, or 0.01,fixed to try no others."),
    ] = None,
    batch_size: Annotated[Optional[int], RunOpt(help="Samples per step.")] = None,
    schedule: Annotated[
        Optional[str],
        RunOpt(help="Schedule: constant, inverse_sqrt, warmup_cosine or warmup_linear."),
    ] = None,
    warmup: Annotated[
        Optional[float], RunOpt(help="Fraction of the steps used for warmup.")
    ] = None,
    order: Annotated[
        Optional[str], RunOpt(help="Order of the samples: shuffle, replacement or cyclic.")
    ] = None,
    beta1: Annotated[Optional[float], RunOpt(help="Value of beta1 if it is not an axis.")] = None,
    beta2: Annotated[Optional[float], RunOpt(help="Value of beta2 if it is not an axis.")] = None,
    eps: Annotated[Optional[float], RunOpt(help="Value of eps if it is not an axis.")] = None,
    weight_decay: Annotated[
        Optional[float], RunOpt(help="Weight decay if it is not an axis.")
    ] = None,
    independent: Annotated[
        bool, RunOpt(help="Give each run its own initialization and minibatch order.")
    ] = False,
    early_stop: Annotated[bool, RunOpt(help="End runs whose verdict is certain.")] = True,
    data: Annotated[
        Optional[Path],
        RunOpt(help="Folder with your data, for problems that read one (mnist, text)."),
    ] = None,
    engine: Annotated[
        str,
        RunOpt(help="Engine: auto, stacked (runs side by side) or plain (one after another)."),
    ] = "auto",
    compile: Annotated[
        bool, RunOpt("--compile", help="Compile the stacked step; saves time on long maps.")
    ] = False,
    device: where.DeviceOpt = None,
    workers: where.WorkersOpt = None,
    executor: where.ExecutorOpt = None,
    gpus: where.GpusOpt = None,
    per_gpu: where.PerGpuOpt = 1,
    seeds: Annotated[int, SearchOpt(help="Runs per cell.")] = 2,
    boundary_seeds: Annotated[
        int, SearchOpt(help="Runs per cell next to a cell with another verdict.")
    ] = 4,
    dense: Annotated[
        bool, SearchOpt(help="Train every cell instead of refining a coarse grid.")
    ] = False,
    trainings: Annotated[Optional[int], SearchOpt(help="Maximum number of runs.")] = None,
    budget_: Annotated[
        Optional[str], SearchOpt("--budget", help="Time limit: 90s, 20m or 2h.")
    ] = None,
    good: Annotated[float, SearchOpt(help="Score below which a cell is good.")] = 0.05,
    failing: Annotated[float, SearchOpt(help="Score above which a cell fails.")] = 0.5,
    judge: Annotated[
        str, SearchOpt(help="What a run is judged by: loss, regret, gradient-norm or validation.")
    ] = "loss",
    score: Annotated[
        str,
        SearchOpt(help="Scale of scores: linear, or log if the lowest possible loss is known."),
    ] = "linear",
    out: Annotated[Path, OutOpt(help="Folder for the picture, the page and the store.")] = Path(
        "out"
    ),
    store: Annotated[
        Optional[Path],
        OutOpt(help="File that stores finished runs [default: in the folder of --out]."),
    ] = None,
    merge: Annotated[
        Optional[list[Path]],
        OutOpt(help="Copy the finished runs of another store first; may be repeated."),
    ] = None,
    status: Annotated[
        bool, OutOpt("--status", help="Print what the store contains and exit.")
    ] = False,
    as_json: Annotated[
        bool, OutOpt("--json", help="Print the result as JSON and nothing else.")
    ] = False,
    plan_only: map_plan.PlanOpt = False,
    plan_workers: map_plan.WorkersOpt = None,
    plan_speed: map_plan.SpeedOpt = None,
    run_seconds: map_plan.RunSecondsOpt = None,
) -> None:
    """Map where training converges, and recommend a setting.

    Every finished run is stored. Interrupt the command at any time: rerunning it resumes. A finer
    grid, more seeds or more steps reuse every finished run.

    \b
    Examples:
      betaplane map
      betaplane map my_problem.py:problem --budget 20m
      betaplane map digits --x batch_size=4:256 --y beta2 --points 7x24
      betaplane map counterexample:n=20 --points 64
      betaplane map --command 'python train.py --beta2 {beta2} --lr {lr}' ...

    The first example maps the handwritten digits on 24 x 24 cells and takes about a minute.
    """
    from betaplane.cli.map_session import MapSession

    rate, search_lr = learning_rate(lr)
    options = {
        "lr": rate, "batch_size": batch_size, "steps": steps, "schedule": schedule,
        "warmup": warmup, "order": order, "beta1": beta1, "beta2": beta2, "eps": eps,
        "weight_decay": weight_decay,
    }  # fmt: skip
    hyperparameters = {name: value for name, value in options.items() if value is not None}
    how: dict[str, Any] = {
        "seeds": seeds, "boundary_seeds": boundary_seeds, "dense": dense, "trainings": trainings,
        "seconds": budget(budget_), "engine": engine, "search_lr": search_lr, "scale": scale,
        "judge": judge, "examples": examples, "tokens": tokens, "score": score,
    }  # fmt: skip
    run_options = {
        "early_stop": early_stop, "independent": independent, "compile": compile,
        "device": where.device_of(device, gpus),
    }  # fmt: skip
    place = {"workers": workers, "executor": executor, "gpus": gpus, "per_gpu": per_gpu}
    shape = grid_shape(points)
    request = map_plan.PlanRequest(plan_only, plan_workers, plan_speed, run_seconds)
    request.check_alone({"--status": status, "--merge": merge})
    result = sys.stdout
    with redirect_stdout(sys.stderr):  # what a problem file prints is not part of the result
        own = {"timeout": timeout, "losses": losses, "runs": runs, "shell": shell}
        own["reads_environment"] = reads_environment
        source = own_command.training_source(problem, command, loss, own)
        session = MapSession(source, data, rule, hyperparameters, out, store, as_json, result)
        axes = axis_range(x), axis_range(y)
        plan: Plan = session.plan(*axes, shape, how, run_options, (good, failing))
        own_betas = betas(betas_)
        session.check_betas(plan, own_betas, strict)
        if plan_only:
            session.cost(plan, request, place)
            return
        session.merge(merge or [])
        if status:
            session.status()
        else:
            session.map(plan, own_betas, place)

"""`betaplane map`: train, draw, recommend."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.cli.parse import betas, budget, span, whole

if TYPE_CHECKING:
    from betaplane.maps import Plan

Opt = typer.Option
AXES = "beta1, beta2, lr, eps, batch_size or weight_decay, with a range if you like: lr=1e-4:1e-1."
X = Annotated[str, Opt("--x", help=f"Axis along: {AXES}")]
Y = Annotated[str, Opt("--y", help="Axis upwards, likewise.")]
Points = Annotated[str, Opt("--points", help="Cells along each axis: 24, or 32x48.")]


def map_command(
    problem: Annotated[
        str,
        typer.Argument(
            help="A built-in problem (see `betaplane problems`) or path/to/file.py:name."
        ),
    ] = "digits",
    x: X = "beta1",
    y: Y = "beta2",
    points: Points = "24",
    seeds: Annotated[int, Opt(help="Trainings of every cell.")] = 2,
    boundary_seeds: Annotated[int, Opt(help="Trainings of cells beside a change of verdict.")] = 4,
    steps: Annotated[Optional[int], Opt(help="Optimizer steps of a training.")] = None,
    lr: Annotated[Optional[float], Opt(help="Peak learning rate.")] = None,
    batch_size: Annotated[Optional[int], Opt(help="Examples a step.")] = None,
    schedule: Annotated[
        Optional[str], Opt(help="constant, inverse_sqrt, warmup_cosine or warmup_linear.")
    ] = None,
    warmup: Annotated[Optional[float], Opt(help="Share of the steps spent on warmup.")] = None,
    order: Annotated[Optional[str], Opt(help="shuffle, replacement or cyclic.")] = None,
    rule: Annotated[str, Opt(help="Update rule (see `betaplane rules`).")] = "adam",
    beta1: Annotated[Optional[float], Opt(help="beta1, where it is no axis.")] = None,
    beta2: Annotated[Optional[float], Opt(help="beta2, where it is no axis.")] = None,
    eps: Annotated[Optional[float], Opt(help="eps, where it is no axis.")] = None,
    weight_decay: Annotated[Optional[float], Opt(help="Weight decay, where it is no axis.")] = None,
    betas_: Annotated[
        Optional[str], Opt("--betas", help="Your own setting, to mark on the map: 0.9,0.98.")
    ] = None,
    strict: Annotated[
        bool, Opt(help="Treat beta1 >= sqrt(beta2) as an error, not a warning.")
    ] = False,
    dense: Annotated[bool, Opt(help="Train every cell; the default goes coarse to fine.")] = False,
    trainings: Annotated[Optional[int], Opt(help="Stop after so many trainings.")] = None,
    budget_: Annotated[
        Optional[str], Opt("--budget", help="Stop after so long: 90s, 20m, 2h.")
    ] = None,
    early_stop: Annotated[bool, Opt(help="Cut trainings whose verdict is certain.")] = True,
    independent: Annotated[
        bool, Opt(help="Give each training an initialisation and minibatch order of its own.")
    ] = False,
    good: Annotated[float, Opt(help="A cell is good below this score.")] = 0.05,
    failing: Annotated[float, Opt(help="A cell fails above this score.")] = 0.5,
    engine: Annotated[
        str, Opt(help="auto, stacked (replicas side by side) or plain (one after another).")
    ] = "auto",
    compile: Annotated[
        bool, Opt("--compile", help="Compile the stacked step; pays on long maps.")
    ] = False,
    device: Annotated[str, Opt(help="cpu, or cuda where there is one.")] = "cpu",
    workers: Annotated[
        Optional[int], Opt(help="Worker processes; one a core unless you say.")
    ] = None,
    data: Annotated[
        Optional[Path], Opt(help="Folder with your data, for problems that read one (mnist, text).")
    ] = None,
    out: Annotated[Path, Opt(help="Folder for the picture, the page and the store.")] = Path("out"),
    store: Annotated[Optional[Path], Opt(help="File that keeps every finished training.")] = None,
    merge: Annotated[
        Optional[list[Path]], Opt(help="First copy the finished trainings of another store.")
    ] = None,
    status: Annotated[bool, Opt("--status", help="Only tell what the store holds.")] = False,
    as_json: Annotated[bool, Opt("--json", help="Print the result as JSON, nothing else.")] = False,
) -> None:
    """Map where training converges over two hyperparameters, and recommend a setting.

    Every finished training is kept: stop it at any time, and the same command goes on where it was. Ask for a finer
    grid, more seeds or more steps, and what is known is used again.

    Examples:
      betaplane map                                    the handwritten digits, 24 x 24, about a minute

      betaplane map my_problem.py:problem --budget 20m

      betaplane map digits --x batch_size=4:256 --y beta2 --points 7x24

      betaplane map counterexample:n=20 --points 64
    """
    from betaplane.cli.map_session import Session

    given = {
        "lr": lr, "batch_size": batch_size, "steps": steps, "schedule": schedule, "warmup": warmup, "order": order,
        "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay,
    }  # fmt: skip
    how: dict[str, Any] = {
        "seeds": seeds, "boundary_seeds": boundary_seeds, "dense": dense, "trainings": trainings,
        "seconds": budget(budget_), "engine": engine,
    }  # fmt: skip
    options = {
        "early_stop": early_stop,
        "independent": independent,
        "compile": compile,
        "device": device,
    }
    nx, ny = whole(points)
    result = sys.stdout
    with redirect_stdout(sys.stderr):  # what a problem file prints is no part of the result
        chosen = {name: value for name, value in given.items() if value is not None}
        session = Session(problem, data, rule, chosen, out, store, as_json, result)
        plan: Plan = session.plan(span(x, nx), span(y, ny), how, options, (good, failing))
        mine = betas(betas_)
        session.check_betas(plan, mine, strict)
        session.merge(merge or [])
        if status:
            session.status()
        else:
            session.map(plan, mine, workers)

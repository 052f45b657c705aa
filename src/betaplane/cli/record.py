"""`betaplane record`: write down the gradients of a problem."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Optional

import typer

from betaplane.errors import BadInput

Opt = typer.Option


def record_command(
    problem: Annotated[
        str,
        typer.Argument(
            help="A built-in problem (see `betaplane problems`) or path/to/file.py:name."
        ),
    ] = "digits",
    steps: Annotated[
        int, Opt(help="Gradients to record; whole epochs of them where one fits.")
    ] = 512,
    coordinates: Annotated[
        int, Opt(help="Coordinates to record, drawn from every tensor.")
    ] = 20_000,
    after: Annotated[int, Opt(help="Steps to train with Adam's defaults before.")] = 100,
    live: Annotated[
        bool, Opt("--live", help="Go on training while recording; else the weights stand still.")
    ] = False,
    batch_size: Annotated[
        Optional[int], Opt(help="Examples of a recorded gradient; the problem's own.")
    ] = None,
    seed: Annotated[int, Opt(help="Of initialisation, minibatches and coordinates.")] = 0,
    out: Annotated[Path, Opt(help="The file to write.")] = Path("grads.safetensors"),
) -> None:
    """Record the minibatch gradients of a problem, for `betaplane replay`.

    It trains for a while, then passes over the data with the weights standing still and writes what the gradient of
    each minibatch is at a sample of the coordinates. Your own training loop is recorded with two lines of Python:

    \b
      record = betaplane.record_gradients(model, batch_size=32)   # before the loop; it stops by itself
      record.save("grads.safetensors")                            # after it

    Where the batch is small, more steps tell signal from noise: record at the smallest batch size of interest, since
    `betaplane replay` makes larger ones from it exactly.

    For example:

    \b
      betaplane record digits --out digits.safetensors
      betaplane record my_problem.py:problem --after 1000 --steps 2048
    """
    from betaplane.cli.files import check_file
    from betaplane.cli.progress import DelayedProgress
    from betaplane.problems import Problem, load
    from betaplane.replay import record_problem, save

    if after < 0:
        raise BadInput(
            "after is out of range",
            value=after,
            allowed="[0, inf)",
            where="--after",
            instead="--after 100",
        )
    if not out.parent.is_dir():  # told before anything is trained
        where, instead = "--out", "--out grads.safetensors"
        raise BadInput(
            "There is no such folder", value=str(out.parent), where=where, instead=instead
        )
    check_file(out, "--out grads.safetensors")
    with redirect_stdout(sys.stderr):  # what a problem file prints is no part of the result
        found = load(problem)
        if not isinstance(found, Problem):
            raise BadInput(
                "A Trainer's gradients cannot be seen from outside",
                value=problem,
                allowed="a Problem",
                where="record",
                instead="betaplane.record_gradients(model)  # in your training loop",
            )
        with DelayedProgress("recording") as watch:
            stream = record_problem(
                found,
                coordinates,
                steps,
                after=after,
                live=live,
                batch_size=batch_size,
                seed=seed,
                watch=watch,
            )
        path = save(stream, out)
    weights = "moving" if live else "frozen"
    print(
        f"{stream.steps} gradients of batch {stream.batch_size} at {stream.coordinates} coordinates of "
        f"{len(stream.layers)} tensors, weights {weights}, after {after} steps\n{path}"
    )

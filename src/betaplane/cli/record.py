"""`betaplane record`: record the minibatch gradients of a problem."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.problems import Problem

Opt = typer.Option
OUT = "--out grads.safetensors"


def record_command(
    problem: Annotated[
        str,
        typer.Argument(
            help="A built-in problem (see `betaplane problems`) or path/to/file.py:name."
        ),
    ] = "digits",
    steps: Annotated[
        int, Opt(help="Gradients to record, rounded to whole epochs if one epoch fits.")
    ] = 512,
    coordinates: Annotated[
        int, Opt(help="Coordinates to record, sampled from every tensor.")
    ] = 20_000,
    after: Annotated[int, Opt(help="Steps to train with Adam's defaults before recording.")] = 100,
    live: Annotated[
        bool, Opt("--live", help="Keep training while recording; by default weights are frozen.")
    ] = False,
    batch_size: Annotated[
        Optional[int],
        Opt(help="Samples per recorded gradient [default: the problem's own]."),
    ] = None,
    seed: Annotated[
        int, Opt(help="Seed of the initialization, the minibatches and the coordinates.")
    ] = 0,
    out: Annotated[Path, Opt(help="File to write.")] = Path("grads.safetensors"),
) -> None:
    """Record minibatch gradients for `betaplane replay`.

    The command trains for --after steps, then passes over the data with frozen weights. It writes
    the gradient of each minibatch at a sample of the coordinates. Two lines of Python record your
    own training loop:

    \b
      record = betaplane.record_gradients(model, batch_size=32)  # before the loop
      record.save("grads.safetensors")                           # after the loop

    With small batches, more steps are needed to separate signal from noise. Record at the smallest
    batch size of interest: `betaplane replay` computes larger batches from it exactly.

    \b
    Examples:
      betaplane record digits --out digits.safetensors
      betaplane record my_problem.py:problem --after 1000 --steps 2048
    """
    from betaplane.cli.files import check_file
    from betaplane.cli.progress import DelayedProgress
    from betaplane.replay import record_problem, save

    if after < 0:
        raise BadInput(
            "after is out of range",
            value=after,
            allowed="[0, inf)",
            where="after",
            instead="after=100",
        )
    if not out.parent.is_dir():  # checked before training starts
        raise BadInput("The folder does not exist", value=str(out.parent), where="out", instead=OUT)
    check_file(out, OUT)
    with redirect_stdout(sys.stderr):  # what a problem file prints is not part of the result
        source = _load_problem(problem)
        with DelayedProgress("recording") as watch:
            stream = record_problem(
                source,
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
        f"{stream.steps} gradients of batch {stream.batch_size} at {stream.coordinates} "
        f"coordinates of {len(stream.layers)} tensors, weights {weights}, after {after} steps"
    )
    print(path)


def _load_problem(reference: str) -> Problem:
    """The problem; a Trainer is rejected, since its gradients are not visible."""
    from betaplane.problems import Problem, load

    source = load(reference)
    if not isinstance(source, Problem):
        raise BadInput(
            "The gradients of a Trainer cannot be recorded from outside",
            value=reference,
            allowed="a Problem",
            where="record",
            instead="betaplane.record_gradients(model)  # in your training loop",
        )
    return source

"""`betaplane replay`: predict the phase map from recorded gradients, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from betaplane.cli.parse import betas, whole

Opt = typer.Option


def replay_command(
    file: Annotated[
        Path, typer.Argument(help="Gradients that `betaplane record` or record_gradients wrote.")
    ],
    batch_size: Annotated[
        Optional[list[int]],
        Opt(help="Predict for this batch size; more than once for more of them."),
    ] = None,
    points: Annotated[str, Opt("--points", help="Cells along each axis: 64, or 32x48.")] = "64",
    eps: Annotated[float, Opt(help="eps of Adam.")] = 1e-8,
    betas_: Annotated[
        Optional[str], Opt("--betas", help="Your own setting, to mark on the map: 0.9,0.98.")
    ] = None,
    out: Annotated[Path, Opt(help="Folder for the picture and the page.")] = Path("out"),
    as_json: Annotated[
        bool, Opt("--json", help="Print every quantity of every cell as JSON, nothing else.")
    ] = False,
) -> None:
    """Predict where Adam converges from recorded gradients: no training, a map in seconds.

    It runs the recorded minibatch gradients through Adam's two averages for every beta1 and every beta2 and asks of
    each cell: does the mean update point down the mean gradient, and how much noise comes with it? A cell's cost is
    the factor by which that lowers the learning rate the cell stands, against beta2 -> 1 at the same beta1: good below
    2, failing above 20 or where the mean update points uphill.

    It sees direction and noise. It does not see what hangs on the learning rate (instability, a noise floor too high,
    steps too few), what happens where gradients have no noise, or which beta1 is better: it compares beta2s.

    Larger batches are averaged from the recording and exact at frozen weights; smaller ones are extrapolated (right
    variance, too light tails) and the map says so.

    For example:

    \b
      betaplane record digits --out digits.safetensors
      betaplane replay digits.safetensors
      betaplane replay digits.safetensors --batch-size 128 --batch-size 8
    """
    nx, ny = whole(points)
    mine = betas(betas_)
    from betaplane.cli.replay_session import Replaying

    Replaying(file, (nx, ny), eps, mine, out, as_json).run(batch_size or [None])

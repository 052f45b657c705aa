"""`betaplane replay`: predict the phase map from recorded gradients, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from betaplane.cli.parse import betas, grid_shape

Opt = typer.Option


def replay_command(
    file: Annotated[
        Path, typer.Argument(help="Gradients that `betaplane record` or record_gradients wrote.")
    ],
    batch_size: Annotated[
        Optional[list[int]],
        Opt(help="Batch size to predict for; may be repeated."),
    ] = None,
    points: Annotated[str, Opt("--points", help="Cells per axis: 64, or 32x48.")] = "64",
    eps: Annotated[float, Opt(help="eps of Adam.")] = 1e-8,
    betas_: Annotated[
        Optional[str], Opt("--betas", help="Your own setting, marked on the map: 0.9,0.98.")
    ] = None,
    out: Annotated[Path, Opt(help="Folder for the picture and the page.")] = Path("out"),
    as_json: Annotated[
        bool, Opt("--json", help="Print all quantities of all cells as JSON and nothing else.")
    ] = False,
) -> None:
    """Predict from recorded gradients where training fails.

    The command runs the recorded minibatch gradients through Adam's moments for every beta1 and
    beta2; nothing is trained. For each cell it measures whether the mean update points along the
    mean gradient, and how noisy the updates are. The cost of a cell is the factor by which both
    reduce the usable learning rate, relative to beta2 -> 1 at the same beta1. A cell is
    failing above 20, or if the mean update points uphill.

    A replay predicts failure; it does not predict which of the other settings are good. It measures
    direction and noise, not the learning rate (instability, a noise level that is too high, too few
    steps) or problems without gradient noise. It compares values of beta2, not of beta1.

    Gradients of larger batches are averages of recorded ones, exact at frozen weights. Those of
    smaller batches are extrapolated: the variance is right, the tails are too light, and the map
    says so.

    \b
    Examples:
      betaplane record digits --out digits.safetensors
      betaplane replay digits.safetensors
      betaplane replay digits.safetensors --batch-size 128 --batch-size 8
    """
    shape = grid_shape(points)
    own_betas = betas(betas_)
    from betaplane.cli.replay_session import ReplaySession

    ReplaySession(file, shape, eps, own_betas, out, as_json).run(batch_size or [None])

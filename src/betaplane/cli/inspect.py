"""`betaplane inspect`: the health of an optimizer checkpoint on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from betaplane.cli.parse import betas
from betaplane.errors import BadInput
from betaplane.text import printable

if TYPE_CHECKING:
    from betaplane.checkpoints.inspect import Inspection

Opt = typer.Option
PNG = "--png moments.png"


def inspect_command(
    file: Annotated[
        Path, typer.Argument(help="A state dict, .ckpt, safetensors, or a folder of shards.")
    ],
    betas_: Annotated[
        Optional[str], Opt("--betas", help="Betas to continue with, such as 0.9,0.95.")
    ] = None,
    trained: Annotated[
        Optional[str],
        Opt("--trained-with", help="Betas of the run so far, if the file does not contain them."),
    ] = None,
    eps: Annotated[
        Optional[float], Opt(help="eps of the run, if the file does not contain it.")
    ] = None,
    top: Annotated[int, Opt(min=1, help="Layers to list, suspicious ones first.")] = 10,
    png: Annotated[
        Optional[Path],
        Opt(help="Picture to write: sqrt(v_hat) of every listed layer against eps."),
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print every layer as JSON and nothing else.")
    ] = False,
    check: Annotated[
        bool, Opt("--check", help="Exit with code 1 if a line has !, for CI.")
    ] = False,
) -> None:
    """Check an optimizer checkpoint; no code in it is run.

    It reads state dicts of torch.optim, alone or in a larger checkpoint (Hugging Face, Lightning),
    folders of torch.distributed.checkpoint, ZeRO shards of DeepSpeed, and safetensors. A line with
    ! states what no healthy run produces: of a layer, of all layers, or of the model beside.

    Columns: sqrt(v_hat) is the root of the mean of v_hat; max is the largest |m_hat| / sqrt(v_hat);
    bound is the largest value that any gradients can give at that step; < eps and v = 0 are
    fractions of the coordinates; spread is the standard deviation of sqrt(v) over its mean; update
    is the RMS of the next update in units of lr. For rules other than Adam, max, bound and update
    are -.

    \b
    Examples:
      betaplane inspect optimizer.pt
      betaplane inspect checkpoint-5000 --betas 0.9,0.95 --png moments.png
    """
    new, old = _pair(betas_, "betas"), _pair(trained, "trained")
    from betaplane.checkpoints import inspect
    from betaplane.cli.files import check_apart
    from betaplane.cli.inspection_text import lines

    if png is not None:
        check_apart(png, [file, *file.rglob("*")], PNG)
    inspection = inspect(file, new, old, eps)
    if png is not None:
        _draw(inspection, png, top)
    if as_json:
        typer.echo(json.dumps(inspection.to_dict(), indent=2, allow_nan=False))
    else:
        for line in lines(inspection, top):
            typer.echo(printable(line))
    if check and inspection.severe:
        raise typer.Exit(1)


def _pair(text: str | None, argument: str) -> tuple[float, float] | None:
    pair = betas(text, argument)
    return None if pair is None else (pair["beta1"], pair["beta2"])


def _draw(inspection: Inspection, path: Path, top: int) -> None:
    from betaplane.checkpoints.health import DECADES
    from betaplane.cli.files import make_folder, write_whole
    from betaplane.figures.moments import moments_png

    rows = [
        (printable(row.health.name), row.severe, row.health.shares)
        for row in inspection.rows
        if row.health.shares
    ][:top]
    if not rows:
        raise BadInput(
            "There is nothing to draw: no v is above 0, or its bias correction is unknown",
            value=inspection.path,
            where="--png",
            instead="--json",
        )
    make_folder(path.parent, PNG)
    title = Path(inspection.path).name
    write_whole(path, moments_png(title, rows, DECADES[:2], inspection.eps), PNG)

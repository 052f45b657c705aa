"""The options of `map` and `tune` for where runs execute."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

PANEL = "Where runs execute"
DeviceOpt = Annotated[
    Optional[str],
    typer.Option(
        "--device",
        rich_help_panel=PANEL,
        help="Device: cpu, or cuda if there is one [default: cpu; cuda with --gpus].",
    ),
]
WorkersOpt = Annotated[
    Optional[int],
    typer.Option(
        "--workers",
        rich_help_panel=PANEL,
        help="Worker processes [default: one per core; 1 for --command].",
    ),
]
ExecutorOpt = Annotated[
    Optional[str],
    typer.Option(
        "--executor",
        rich_help_panel=PANEL,
        help="A cluster instead of this machine: ray, ray:HOST:PORT, dask:tcp://HOST:PORT, slurm, "
        "with options after commas: ray:gpus=0.5, slurm:partition=gpu,time=2h,gpus=1,array=64.",
    ),
]
GpusOpt = Annotated[
    Optional[str],
    typer.Option(
        "--gpus",
        rich_help_panel=PANEL,
        help="GPUs of this machine: 0,1,2,3. Each run sees one of them.",
    ),
]
PerGpuOpt = Annotated[
    int, typer.Option("--per-gpu", rich_help_panel=PANEL, help="Runs at once on each GPU.")
]


def device_of(device: str | None, gpus: str | None) -> str:
    """The device that is given, or the default."""
    return device or ("cpu" if gpus is None else "cuda")

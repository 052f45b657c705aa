"""`betaplane advise`: settings for AdamW with reasons, without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Annotated, Optional

import typer

Opt = typer.Option
RUN, DEVICE, CARRY, FILES = "Run", "Devices", "Carry over", "Measurements"


def advise_command(
    batch_size: Annotated[
        Optional[float], Opt(help="Samples per step.", rich_help_panel=RUN)
    ] = None,
    dataset_size: Annotated[
        Optional[float], Opt(help="Samples per epoch.", rich_help_panel=RUN)
    ] = None,
    epochs: Annotated[
        Optional[float], Opt(help="Passes over the data.", rich_help_panel=RUN)
    ] = None,
    batch_tokens: Annotated[
        Optional[float],
        Opt(help="Tokens per step, for language models.", rich_help_panel=RUN),
    ] = None,
    tokens: Annotated[
        Optional[float], Opt(help="Tokens in the whole run, such as 10e9.", rich_help_panel=RUN)
    ] = None,
    params: Annotated[
        Optional[float], Opt(help="Parameters of the model, such as 124e6.", rich_help_panel=RUN)
    ] = None,
    dtype: Annotated[
        str,
        Opt(help="Dtype of the forward pass: float32, bf16 or fp16.", rich_help_panel=DEVICE),
    ] = "float32",
    ranks: Annotated[int, Opt(help="Devices that share each batch.", rich_help_panel=DEVICE)] = 1,
    memory: Annotated[
        Optional[float],
        Opt(
            help="GB per device for weights, gradients and optimizer states.",
            rich_help_panel=DEVICE,
        ),
    ] = None,
    before: Annotated[
        Optional[str],
        Opt(
            "--from",
            help="Settings that work, such as batch=512,lr=3e-4,betas=0.9,0.95.",
            rich_help_panel=CARRY,
        ),
    ] = None,
    after: Annotated[
        Optional[str],
        Opt(
            "--to",
            help="Batch size to carry the settings over to, such as batch=64.",
            rich_help_panel=CARRY,
        ),
    ] = None,
    map_: Annotated[
        Optional[Path],
        Opt("--map", help="Store of a map of your problem.", rich_help_panel=FILES),
    ] = None,
    replay: Annotated[
        Optional[Path],
        Opt(help="Gradients that `betaplane record` wrote.", rich_help_panel=FILES),
    ] = None,
    checkpoint: Annotated[
        Optional[Path],
        Opt(
            help="File with an optimizer's state dict; no code in it is run.",
            rich_help_panel=FILES,
        ),
    ] = None,
    evidence_file: Annotated[
        Optional[Path],
        Opt(
            "--evidence",
            help="Published numbers, in the form of the package's own.",
            rich_help_panel=FILES,
        ),
    ] = None,
    only_notes: Annotated[
        bool, Opt("--notes", help="Print only what else is claimed about settings.")
    ] = False,
    as_json: Annotated[bool, Opt("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Recommend AdamW settings, with reasons and sources.

    Nothing is trained. Each value has a range, a reason, a formula, its source and a confidence
    level. If sources disagree, the values of all of them are printed.

    \b
    Examples:
      betaplane advise --batch-size 32 --dataset-size 60000 --epochs 10
      betaplane advise --batch-tokens 524288 --tokens 10e9 --params 124e6
      betaplane advise --from "batch=512,lr=3e-4,betas=0.9,0.95" --to "batch=64"
      betaplane advise --notes
    """
    from betaplane.advice import advise

    if only_notes:
        _print_notes(as_json)
        return
    file = {} if evidence_file is None else {"evidence_file": evidence_file}
    advice = advise(
        batch_size,
        dataset_size=dataset_size,
        epochs=epochs,
        batch_tokens=batch_tokens,
        tokens=tokens,
        params=params,
        dtype=dtype,
        ranks=ranks,
        memory=memory,
        before=before,
        after=after,
        map=map_,
        replay=replay,
        checkpoint=checkpoint,
        **file,
    )
    typer.echo(json.dumps(advice.to_dict(), indent=2) if as_json else str(advice))


def _print_notes(as_json: bool) -> None:
    """Print what is claimed about settings beside the evidence."""
    from betaplane.advice import notes

    if as_json:
        typer.echo(json.dumps([asdict(note) for note in notes()], indent=2))
        return
    for note in notes():
        typer.echo(fill(f"{note.setting}: {note.text}", 80, subsequent_indent="  "))
        typer.echo(
            fill(
                f"{note.source} ({note.verified})", 80, initial_indent="  ", subsequent_indent="  "
            )
        )

"""`betaplane advise`: settings with reasons, from what is known of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

Opt = typer.Option


def advise_command(
    batch_size: Annotated[Optional[float], Opt(help="Samples a step.")] = None,
    dataset_size: Annotated[Optional[float], Opt(help="Samples in an epoch.")] = None,
    epochs: Annotated[Optional[float], Opt(help="Passes over the data.")] = None,
    batch_tokens: Annotated[
        Optional[float], Opt(help="Tokens a step, for language models.")
    ] = None,
    tokens: Annotated[Optional[float], Opt(help="Tokens in the whole run: 10e9.")] = None,
    params: Annotated[Optional[float], Opt(help="Parameters of the model: 124e6.")] = None,
    dtype: Annotated[str, Opt(help="float32, bf16 or fp16, of the forward pass.")] = "float32",
    ranks: Annotated[int, Opt(help="Devices the batch is split over.")] = 1,
    memory: Annotated[
        Optional[float], Opt(help="GB of a device for weights, gradients and states.")
    ] = None,
    before: Annotated[
        Optional[str], Opt("--from", help="Settings that work: batch=512,lr=3e-4,betas=0.9,0.95.")
    ] = None,
    after: Annotated[
        Optional[str], Opt("--to", help="The batch size they are wanted for: batch=64.")
    ] = None,
    map_: Annotated[
        Optional[Path], Opt("--map", help="The store of a map of your problem.")
    ] = None,
    replay: Annotated[Optional[Path], Opt(help="Gradients that `betaplane record` wrote.")] = None,
    checkpoint: Annotated[
        Optional[Path], Opt(help="A file with an optimizer's state dict; runs no code.")
    ] = None,
    evidence: Annotated[
        Optional[Path], Opt(help="Published numbers, in the form of the package's own.")
    ] = None,
    as_json: Annotated[bool, Opt("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Tell what to set, why, by which formula, who says so, and how sure that is.

    Nothing is trained. Sources that disagree are told with their values.

    Examples:
      betaplane advise --batch-size 32 --dataset-size 60000 --epochs 10

      betaplane advise --batch-tokens 524288 --tokens 10e9 --params 124e6 --dtype bf16

      betaplane advise --from "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000" --to "batch=64"
    """
    from betaplane.advice import advise

    file = {} if evidence is None else {"evidence_file": evidence}
    told = advise(
        batch_size, dataset_size=dataset_size, epochs=epochs, batch_tokens=batch_tokens, tokens=tokens, params=params,
        dtype=dtype, ranks=ranks, memory=memory, before=before, after=after, map=map_, replay=replay,
        checkpoint=checkpoint, **file,
    )  # fmt: skip
    typer.echo(json.dumps(told.to_dict(), indent=2) if as_json else str(told))

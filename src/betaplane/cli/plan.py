"""`betaplane plan`: the few runs of a large model that confirm where it fails along beta2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from betaplane.maps import Confirmation

Opt = typer.Option


def plan_command(
    file: Annotated[
        Path,
        typer.Argument(help="Gradients of the model, from `betaplane record` or record_gradients."),
    ],
    beta1: Annotated[float, Opt("--beta1", help="Value of beta1 in the runs.")] = 0.9,
    runs: Annotated[int, Opt("--runs", help="Number of runs to choose, up to 12.")] = 8,
    batch_size: Annotated[
        Optional[int], Opt(help="Batch size of the runs [default: that of the recording].")
    ] = None,
    proxy: Annotated[
        Optional[Path],
        Opt(help="Map of a narrower model on the same data, from `betaplane map --json`."),
    ] = None,
    results: Annotated[
        Optional[str],
        Opt(help="Runs that were made: what `betaplane import` reads, or the store it wrote."),
    ] = None,
    initial: Annotated[
        Optional[float],
        Opt(help="Loss before training, if the results have final losses only."),
    ] = None,
    loss: Annotated[Optional[str], Opt(help="Column or metric of the loss in the results.")] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Choose the runs that confirm where a large model fails.

    A replay of recorded gradients predicts the beta2 below which training fails; the map of a
    narrower model may add another prediction. The runs are those that reduce the uncertainty about
    this boundary most, chosen together, so that they can run at the same time. Give back their
    results for the updated boundary, and for the next runs. A wrong prediction costs runs; it does
    not outweigh them.

    \b
    Examples:
      betaplane plan grads.safetensors
      betaplane plan grads.safetensors --proxy proxy.json --runs 5 --json
      betaplane plan grads.safetensors --results runs.csv --initial 10.8
    """
    from betaplane.maps import confirm
    from betaplane.replay import load

    found = confirm(
        load(file), beta1, runs, batch_size=batch_size, proxy=proxy, results=results,
        initial=initial, loss=loss,
    )  # fmt: skip
    if as_json:
        print(json.dumps(_payload(found), indent=2))
    else:
        for line in _lines(found):
            print(line)


def _payload(found: Confirmation) -> dict[str, Any]:
    ends = ("low", "median", "high")
    return {
        "beta1": found.beta1,
        "boundary": dict(zip(ends, found.boundary, strict=True)) if found.boundary else None,
        "contradictions": found.contradictions,
        "deviation": found.deviation,
        "predictions": dict(found.predictions),
        "results": found.results,
        "runs": list(found.runs),
        "expected_deviation": found.expected_deviation,
    }


def _lines(found: Confirmation) -> list[str]:
    from betaplane.text import format_beta, plural

    basis = [f"{name} {format_beta(beta2)}" for name, beta2 in found.predictions.items()]
    basis += [plural(found.results, "result")] if found.results else []
    settings = [
        f"  beta1={format_beta(run['beta1'])}  beta2={format_beta(run['beta2'])}"
        for run in found.runs
    ]
    it = "it" if len(settings) == 1 else "them"
    return [
        _boundary(found),
        f"From: {', '.join(basis)}. Standard deviation: {found.deviation:.2f} decades of "
        "1 / (1 - beta2).",
        "",
        f"The {plural(len(settings), 'run')} that decide most; expected standard deviation after "
        f"{it}: {found.expected_deviation:.2f} decades.",
        *settings,
    ]


def _boundary(found: Confirmation) -> str:
    from betaplane.text import format_beta

    against = f"{found.contradictions} of {found.results} results contradict a single boundary"
    if found.boundary is None:
        return (
            f"Unknown: {against}. Training may also fail at larger beta2: the learning rate, "
            "or too few steps."
        )
    low, middle, high = map(format_beta, found.boundary)
    text = (
        f"At beta1 = {format_beta(found.beta1)}, training fails below beta2 = {middle} "
        f"(90% interval {low} to {high})."
    )
    return f"{text} {against.capitalize()}." if found.contradictions else text

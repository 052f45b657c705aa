"""`betaplane problems` and `betaplane rules`: the built-in problems and update rules."""

from __future__ import annotations

import json
from typing import Annotated, Optional

import typer

from betaplane.errors import BadInput

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def problems_command(as_json: Json = False) -> None:
    """List the built-in problems and how to name your own.

    Options follow the name of a problem, as in `counterexample:n=20,a=1`. Your own problem is
    `path/to/file.py:name`.
    """
    import inspect

    from betaplane.problems import BUILT_IN

    rows = []
    for name, make in BUILT_IN.items():
        options = ", ".join(
            p.name if p.default is p.empty else f"{p.name}={p.default}"
            for p in inspect.signature(make).parameters.values()
        )
        rows.append({"name": name, "what": (make.__doc__ or "").split("\n")[0], "options": options})
    print_rows(rows, as_json)


def rules_command(
    rule: Annotated[
        Optional[str],
        typer.Option(help="Only this rule [default: all; adamw with --params]."),
    ] = None,
    params: Annotated[
        Optional[float],
        typer.Option(help="Parameters of a model, such as 70e9: print its memory."),
    ] = None,
    ranks: Annotated[
        Optional[float], typer.Option(help="Devices that share each batch [default: 1].")
    ] = None,
    as_json: Json = False,
) -> None:
    """List update rules and their memory per parameter.

    With --params, print the GB on each of --ranks devices (1 GB = 1e9 bytes) for weights,
    gradients and optimizer states in mixed precision, under ZeRO stages 0 to 3. With P parameters,
    N devices and s bytes of state per parameter:

    \b
      stage 0   (8 + s) P               nothing is split
      stage 1   4 P + (4 + s) P / N     states and float32 weights are split
      stage 2   2 P + (6 + s) P / N     16-bit gradients too
      stage 3   (8 + s) P / N           16-bit weights too

    Rajbhandari et al. 2020, arXiv:1910.02054, section 5. DeepSpeed's own estimate counts a float32
    gradient too:

    \b
      stage 2   2 P + (10 + s) P / N
      stage 3   (10 + s) P / N, and 4 bytes per parameter of the largest layer

    Activations and buffers are not included.

    \b
    Examples:
      betaplane rules
      betaplane rules --params 70e9 --ranks 64
      betaplane rules --params 7e9 --ranks 8 --rule lion --json
    """
    from betaplane.cli import memory_tables
    from betaplane.cli.parse import rule as rule_of
    from betaplane.rules import ALL

    if ranks is not None and params is None:
        raise BadInput(
            "--ranks needs --params",
            value=ranks,
            where="--ranks",
            instead=f"--params 70e9 --ranks {ranks:g}",
        )
    if params is None:
        classes = [type(rule_of(rule))] if rule else ALL
        memory_tables.show_rules([memory_tables.rule_row(cls) for cls in classes], as_json)
    else:
        cls = type(rule_of(rule or "adamw"))
        stages = memory_tables.stages(cls, params, 1 if ranks is None else ranks)
        memory_tables.show_stages(stages, as_json)


def print_rows(rows: list[dict[str, str]], as_json: bool) -> None:
    """Print rows with the same names as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console

    from betaplane.cli.tables import borderless

    table = borderless(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)

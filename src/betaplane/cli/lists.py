"""`betaplane problems` and `betaplane rules`: what there is to choose from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def problems_command(as_json: Json = False) -> None:
    """List the built-in problems and how to name your own.

    A name can carry options, as in `counterexample:n=20,a=1`. Your own problem is `path/to/file.py:name`.
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
    _show(rows, as_json)


def rules_command(as_json: Json = False) -> None:
    """List the update rules, their hyperparameters and where each was published."""
    from betaplane.rules import ALL

    rows = []
    for rule in ALL:
        made = rule()
        numbers = ", ".join(f"{name}={getattr(made, name):g}" for name in rule.hyperparameters())
        rows.append({"name": rule.__name__.lower(), "hyperparameters": numbers, "source": rule.source})
    _show(rows, as_json)


def _show(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)

"""What rules and models take in memory, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from betaplane.errors import BadInput
from betaplane.rules import Rule, state_size
from betaplane.theory import deepspeed_bytes, state_bytes, zero_bytes
from betaplane.theory.memory import BLOCKS

FORMATS = ("float32", "bfloat16", "8bit")  # of states
SIDE = 1024  # of the square matrix whose state is counted
TOLD = f"""\
On the right: bytes of optimizer state a parameter, for a {SIDE} x {SIDE} matrix, at
these hyperparameters, with states in three formats. 8bit has a float32 scale
for every {BLOCKS["8bit"]} numbers; what is kept by row, column or block is float32 in all.
The memory of a model: betaplane rules --params 70e9 --ranks 64"""

FORMULAS = """\
P parameters on N devices, s bytes of state a parameter; weights and gradients
in 16 bit, a float32 copy of the weights. Activations and buffers come on top.

  stage  ZeRO                    DeepSpeed's estimate
  0      (8 + s) P
  1      4 P + (4 + s) P / N
  2      2 P + (6 + s) P / N     2 P + (10 + s) P / N
  3      (8 + s) P / N           (10 + s) P / N, and 4 bytes a parameter of the
                                 largest layer, which are not in the table

ZeRO: Rajbhandari et al. 2020, arXiv:1910.02054, section 5. DeepSpeed's estimate
counts float32 gradients too."""


def bytes_of(kind: type[Rule]) -> dict[str, float]:
    """Bytes of state a parameter in each format, from what the rule makes for a matrix."""
    tensors, rest = state_size(kind(), SIDE, SIDE)
    return {form: state_bytes(tensors, form, rest) for form in FORMATS}


def row(kind: type[Rule]) -> dict[str, Any]:
    """What there is to tell of a rule."""
    made = kind()
    numbers = ", ".join(f"{name}={getattr(made, name):g}" for name in kind.hyperparameters())
    name = kind.__name__.lower()
    return {
        "name": name,
        "hyperparameters": numbers,
        "source": kind.source,
        "state_bytes": bytes_of(kind),
    }


def show_rules(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print the rules, a name with its source below."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = _table("rule, source", "hyperparameters")
    for form in FORMATS:
        table.add_column(form, justify="right")
    for each in rows:
        name = Group(Text(each["name"], "bold"), Padding(Text(each["source"], "dim"), (0, 0, 0, 2)))
        table.add_row(
            name,
            each["hyperparameters"],
            *(f"{value:.2f}" for value in each["state_bytes"].values()),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n{TOLD}", soft_wrap=True)


def stages(kind: type[Rule], params: float, ranks: float) -> dict[str, Any]:
    """GB on each device under ZeRO's stages, for each format of the states."""
    rows = []
    for form, states in bytes_of(kind).items():
        paper = {i: _gb(zero_bytes, params, ranks, i, states) for i in (0, 1, 2, 3)}
        deepspeed = {i: _gb(deepspeed_bytes, params, ranks, i, states) for i in (2, 3)}
        rows.append({"states": form, "state_bytes": states, "paper": paper, "deepspeed": deepspeed})
    about = {
        "rule": kind.__name__.lower(),
        "params": params,
        "ranks": int(ranks),
        "unit": "1e9 bytes a device",
    }
    return {**about, "rows": rows}


def _gb(
    count: Callable[..., float], params: float, ranks: float, stage: int, states: float
) -> float:
    try:
        return count(params, ranks, stage, states) / 1e9
    except BadInput as error:  # which speaks of arguments, where people typed options
        option = f"--{error.what.split()[0]}"
        instead = {"--params": "--params 70e9", "--ranks": "--ranks 64"}.get(option, "")
        raise BadInput(
            error.what, value=error.value, allowed=error.allowed, where=option, instead=instead
        ) from None


def show_stages(told: dict[str, Any], as_json: bool) -> None:
    """Print the stages side by side: the paper's, then DeepSpeed's."""
    if as_json:
        print(json.dumps(told, indent=2))
        return
    devices = f"{told['ranks']:,} device{'s' if told['ranks'] > 1 else ''}"
    console = Console(highlight=False)
    console.print(
        f"{told['rule']}, {_many(told['params'])} parameters on {devices}: GB on each (1 GB = 1e9 bytes)\n"
    )
    console.print(_stage_table(told["rows"]))
    console.print(f"\n{FORMULAS}", soft_wrap=True)


def _stage_table(rows: list[dict[str, Any]]) -> Table:
    table = _table("\nstates")
    columns = {"bytes a\nparameter": [f"{each['state_bytes']:.2f}" for each in rows]}
    for word, key in {"ZeRO": "paper", "DeepSpeed": "deepspeed"}.items():
        for i in rows[0][key]:
            columns[f"{word}\nstage {i}"] = _aligned([each[key][i] for each in rows])
    for head in columns:
        table.add_column(head, justify="right", overflow="fold")
    for each, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(each["states"], *cells)
    return table


def _table(*words: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
    for word in words:
        table.add_column(word, ratio=None if len(words) == 1 else 1, overflow="fold")
    return table


def _aligned(numbers: list[float]) -> list[str]:
    """Numbers with equally many decimals: three figures of the smallest, at most five, none from
    1,000 on.
    """
    smallest = min(numbers)
    digits = (
        0 if smallest >= 1000 else next(n for n in range(1, 6) if smallest * 10**n >= 100 or n == 5)
    )
    return [f"{number:,.{digits}f}" for number in numbers]


def _many(params: float) -> str:
    """A large number as people say it."""
    for unit, word in ((1e9, " billion"), (1e6, " million")):
        if params >= unit:
            return f"{params / unit:,.6g}{word}"
    return f"{params:,.6g}"

"""Memory of rules and models, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from betaplane.cli.tables import borderless
from betaplane.errors import BadInput
from betaplane.rules import Rule, state_size
from betaplane.text import plural
from betaplane.theory import deepspeed_bytes, lbfgs_bytes, lora_share, state_bytes, zero_bytes
from betaplane.theory.memory import BLOCKS

FORMATS = ("float32", "bfloat16", "8bit")  # of states
MATRIX_SIDE = 1024  # rows and columns of the matrix whose state is counted
EXAMPLES = {"params": "params=70e9", "ranks": "ranks=64"}
RULES_NOTE = f"""\
On the right: bytes of optimizer state per parameter, for a {MATRIX_SIDE} x {MATRIX_SIDE}
matrix, at these hyperparameters, with states in three formats. 8bit has one
float32 scale per {BLOCKS["8bit"]} elements. State per row, column or block is float32
in all formats.
For comparison: L-BFGS keeps 2 x history tensors of the size of the weights,
{lbfgs_bytes(10):.0f} bytes per parameter at a history of 10. With LoRA, only the factors
have a state: {lora_share(4096, 4096, 16):.2%} of a 4096 x 4096 matrix at rank 16.
Memory of a model: betaplane rules --params 70e9 --ranks 64"""

FORMULAS = """\
P parameters on N devices, s bytes of state per parameter; 16-bit weights and
gradients, and a float32 copy of the weights. Activations and buffers are not
included.

  stage  ZeRO                    DeepSpeed's estimate
  0      (8 + s) P
  1      4 P + (4 + s) P / N
  2      2 P + (6 + s) P / N     2 P + (10 + s) P / N
  3      (8 + s) P / N           (10 + s) P / N, and 4 bytes per parameter of
                                 the largest layer (not in the table)

ZeRO: Rajbhandari et al. 2020, arXiv:1910.02054, section 5. DeepSpeed's estimate
counts float32 gradients too."""


def bytes_of(rule_class: type[Rule]) -> dict[str, float]:
    """Bytes of state per parameter in each format, from the state of one matrix."""
    tensors, rest = state_size(rule_class(), MATRIX_SIDE, MATRIX_SIDE)
    return {form: state_bytes(tensors, form, rest) for form in FORMATS}


def rule_row(rule_class: type[Rule]) -> dict[str, Any]:
    """Name, default hyperparameters, source and memory of a rule."""
    rule = rule_class()
    defaults = ", ".join(f"{name}={getattr(rule, name):g}" for name in rule_class.hyperparameters())
    return {
        "name": rule_class.__name__.lower(),
        "hyperparameters": defaults,
        "source": rule_class.source,
        "state_bytes": bytes_of(rule_class),
    }


def show_rules(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print the rules; below each name is its source."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = borderless("rule, source", "hyperparameters", right=FORMATS)
    for column in table.columns[:2]:
        column.ratio = 1
    for row in rows:
        source = Padding(Text(row["source"], "dim"), (0, 0, 0, 2))
        name = Group(Text(row["name"], "bold"), source)
        sizes = [f"{size:.2f}" for size in row["state_bytes"].values()]
        table.add_row(name, row["hyperparameters"], *sizes)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n{RULES_NOTE}", soft_wrap=True)


def stages(rule_class: type[Rule], params: float, ranks: float) -> dict[str, Any]:
    """GB on each device under ZeRO's stages, for each format of the states."""
    rows = []
    for form, states in bytes_of(rule_class).items():
        paper = {i: _gb(zero_bytes, params, ranks, i, states) for i in (0, 1, 2, 3)}
        deepspeed = {i: _gb(deepspeed_bytes, params, ranks, i, states) for i in (2, 3)}
        rows.append({"states": form, "state_bytes": states, "paper": paper, "deepspeed": deepspeed})
    about = {
        "rule": rule_class.__name__.lower(),
        "params": params,
        "ranks": int(ranks),
        "unit": "1e9 bytes per device",
    }
    return {**about, "rows": rows}


def _gb(
    count: Callable[..., float], params: float, ranks: float, stage: int, states: float
) -> float:
    try:
        return count(params, ranks, stage, states) / 1e9
    except BadInput as error:
        name = error.what.split()[0]
        instead = EXAMPLES.get(name, "")
        raise BadInput(
            error.what, value=error.value, allowed=error.allowed, where=name, instead=instead
        ) from None


def show_stages(memory: dict[str, Any], as_json: bool) -> None:
    """Print the stages side by side: the paper's, then DeepSpeed's."""
    if as_json:
        print(json.dumps(memory, indent=2))
        return
    model = f"{memory['rule']}, {_in_words(memory['params'])} parameters"
    devices = plural(memory["ranks"], "device")
    console = Console(highlight=False)
    console.print(f"{model} on {devices}: GB per device (1 GB = 1e9 bytes)\n")
    console.print(_stage_table(memory["rows"]))
    console.print(f"\n{FORMULAS}", soft_wrap=True)


def _stage_table(rows: list[dict[str, Any]]) -> Table:
    columns = {"bytes per\nparameter": [f"{row['state_bytes']:.2f}" for row in rows]}
    for source, key in {"ZeRO": "paper", "DeepSpeed": "deepspeed"}.items():
        for stage in rows[0][key]:
            columns[f"{source}\nstage {stage}"] = _aligned([row[key][stage] for row in rows])
    table = borderless("\nstates", right=[*columns])
    for column in table.columns:
        column.no_wrap = False  # a narrow terminal folds numbers rather than crop them
    for row, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(row["states"], *cells)
    return table


def _aligned(values: Sequence[float]) -> list[str]:
    """Values with the same number of decimals: enough for three digits of the smallest value.

    At most five decimals; none if all values are at least 1,000.
    """
    smallest = min(values)
    decimals = 0
    if smallest < 1000:
        decimals = next(n for n in range(1, 6) if smallest * 10**n >= 100 or n == 5)
    return [f"{value:,.{decimals}f}" for value in values]


def _in_words(params: float) -> str:
    """A large number in millions or billions."""
    for unit, name in ((1e9, " billion"), (1e6, " million")):
        if params >= unit:
            return f"{params / unit:,.6g}{name}"
    return f"{params:,.6g}"

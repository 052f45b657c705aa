"""`betaplane audit`: what an optimizer class really computes."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.audit import Audit

PATIENCE = 2.0  # seconds without a progress bar
USUAL = "betaplane audit torch.optim:AdamW"


def audit_command(
    optimizer: Annotated[str, typer.Argument(help="module:Class or path/to/file.py:Class.")],
    settings: Annotated[
        Optional[list[str]],
        typer.Option("--set", help="A constructor option, name=value; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Measure which published rule an optimizer class implements, in which dialect, and what else
    it does.

    Its steps on small tensors are compared with those of every rule of `betaplane rules`. A line with ! is worth
    knowing before training with it.

    Examples:
      betaplane audit torch.optim:AdamW

      betaplane audit my_optimizer.py:MyAdam --set betas="(0.9, 0.95)"
    """
    result, options = sys.stdout, dict(map(_setting, settings or []))
    # what a class prints is no part of the result
    with redirect_stdout(sys.stderr), ExitStack() as shown:
        cls = _loaded(optimizer)
        from betaplane.audit import audit

        found = audit(cls, _bar(shown), **options)
    if as_json:
        print(json.dumps(found.to_dict(), indent=2), file=result)
    else:
        _show(found)


def _setting(text: str) -> tuple[str, Any]:
    """An option from "name=value"; the value as Python reads it, else as text.

    Example:
        >>> _setting("betas=(0.9, 0.95)"), _setting("mode=fast")
        (('betas', (0.9, 0.95)), ('mode', 'fast'))
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise BadInput(
            "This is no option",
            value=text,
            allowed="name=value",
            where="--set",
            instead="--set lr=0.001",
        )
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _loaded(reference: str) -> Any:
    """What "module:Class" or "path/to/file.py:Class" names."""
    place, _, name = reference.rpartition(":")
    place, name = (place, name) if place else (name, "")
    module = _file(Path(place).expanduser()) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    if found is None:
        classes = {n: value for n, value in vars(module).items() if isinstance(value, type)}
        known = [
            n
            for n, value in classes.items()
            if hasattr(value, "add_param_group") and n != "Optimizer"
        ]
        raise BadInput(
            f"The module has no {name!r}" if name else "The name of the class is missing",
            allowed=", ".join(known) or "the name of an optimizer class",
            where=place,
            instead=f"betaplane audit {place}:{known[0] if known else 'MyAdam'}",
        )
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInput(
                "There is no such module", value=name, where="audit", instead=USUAL
            ) from None
        raise _unread(name, error) from error
    except (Exception, SystemExit) as error:
        raise _unread(name, error) from error


def _file(path: Path) -> Any:
    from betaplane.problems.module import import_file, importable

    if not path.is_file():
        raise BadInput(
            "There is no such file",
            value=str(path),
            allowed="a Python file that exists",
            where="audit",
        )
    with importable(path.resolve().parent):
        return import_file(path.resolve())


def _unread(place: str, error: BaseException) -> BadInput:
    from betaplane.problems.check import error_line

    return BadInput(
        "The module raises an error when it is imported", value=place, where=error_line(error)
    )


def _bar(shown: ExitStack) -> Any:
    """A progress bar that shows itself if it takes long."""
    from rich.console import Console
    from rich.progress import Progress

    bar, start = Progress(console=Console(stderr=True), transient=True), time.monotonic()
    task = bar.add_task("measuring")

    def progress(done: int, whole: int) -> None:
        if time.monotonic() - start > PATIENCE and not bar.live.is_started:
            shown.enter_context(bar)
        bar.update(task, completed=done, total=whole)

    return progress


def _show(found: Audit) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "finding"):
        table.add_column(column, overflow="fold")
    table.add_column("number", justify="right", no_wrap=True)
    for row in found.rows:
        number = "" if row.number is None else f"{row.number:.4g}"
        table.add_row("!" if row.trouble else "", row.what, Text(row.finding), number)
    console = Console(highlight=False)
    console.print(
        Text(found.name + "".join(f" {name}={value!r}" for name, value in found.options.items()))
    )
    console.print(table)

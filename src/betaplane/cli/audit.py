"""`betaplane audit`: the update rule that an optimizer class really computes."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.audit import Audit

EXAMPLE = "betaplane audit torch.optim:AdamW"


def audit_command(
    optimizer: Annotated[str, typer.Argument(help="module:Class or path/to/file.py:Class.")],
    settings: Annotated[
        Optional[list[str]],
        typer.Option("--set", help="Constructor argument, as name=value; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Find which published rule an optimizer class computes.

    The steps of the class on small tensors are compared with those of every rule that
    `betaplane rules` lists, in all of their variants. The output also lists side effects. Read the
    lines with ! before you train with the class.

    \b
    Examples:
      betaplane audit torch.optim:AdamW
      betaplane audit my_optimizer.py:MyAdam --set betas="(0.9, 0.95)"
    """
    stdout = sys.stdout
    options = dict(map(_setting, settings or []))
    with redirect_stdout(sys.stderr):  # what the class prints is not part of the result
        cls = _load_class(optimizer)
        from betaplane.audit import audit
        from betaplane.cli.progress import DelayedProgress

        with DelayedProgress("measuring") as progress:
            report = audit(cls, progress, **options)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2), file=stdout)
    else:
        _show(report)


def _setting(text: str) -> tuple[str, Any]:
    """An argument from "name=value"; the value is a Python literal if it is one, else text.

    Example:
        >>> _setting("betas=(0.9, 0.95)"), _setting("mode=fast")
        (('betas', (0.9, 0.95)), ('mode', 'fast'))
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise BadInput(
            "Invalid constructor argument",
            value=text,
            allowed="name=value",
            where="--set",
            instead="--set lr=0.001",
        )
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _load_class(reference: str) -> Any:
    """The class that "module:Class" or "path/to/file.py:Class" names."""
    place, _, name = reference.rpartition(":")
    if not place:
        place, name = name, ""
    module = _load_file(Path(place).expanduser()) if place.endswith(".py") else _load_module(place)
    cls = getattr(module, name, None)
    if cls is None:
        raise _unknown_class(module, name, place)
    return cls


def _unknown_class(module: Any, name: str, place: str) -> BadInput:
    """The error for a class that its module does not have."""
    from betaplane.errors import nearest

    classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    optimizers = [
        key
        for key, value in classes.items()
        if hasattr(value, "add_param_group") and key != "Optimizer"
    ]
    example = nearest(name, optimizers, optimizers[0] if optimizers else "MyAdam")
    return BadInput(
        f"The module has no {name!r}" if name else "The name of the class is missing",
        allowed=", ".join(optimizers) or "the name of an optimizer class",
        where=place,
        instead=f"betaplane audit {place}:{example}",
    )


def _load_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInput(
                "The module does not exist", value=name, where="audit", instead=EXAMPLE
            ) from None
        raise _import_error(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_error(name, error) from error


def _load_file(path: Path) -> Any:
    from betaplane.problems.module import import_file, importable

    if not path.is_file():
        raise BadInput(
            "The file does not exist",
            value=str(path),
            allowed="a Python file that exists",
            where="audit",
        )
    with importable(path.resolve().parent):
        return import_file(path.resolve())


def _import_error(place: str, error: BaseException) -> BadInput:
    from betaplane.problems.check import error_line

    return BadInput(
        "The module raises an error when it is imported", value=place, where=error_line(error)
    )


def _show(report: Audit) -> None:
    from rich.console import Console
    from rich.text import Text

    from betaplane.cli.tables import borderless

    table = borderless("", "what", "finding", right=["number"])
    for row in report.rows:
        number = "" if row.number is None else f"{row.number:.4g}"
        table.add_row("!" if row.trouble else "", row.what, Text(row.finding), number)
    options = "".join(f" {name}={value!r}" for name, value in report.options.items())
    console = Console(highlight=False)
    console.print(Text(report.name + options))
    console.print(table)

"""`betaplane init`: write a commented file to start from."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from betaplane.errors import BadInput, unknown

# what users have; each form is a file in `templates/`
FORMS = ("tensors", "dataloader", "trainer", "lightning", "function", "command")


def init_command(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("my_problem.py"),
    form: Annotated[
        str, typer.Option("--from", help=f"What you have: {', '.join(FORMS)}.")
    ] = "tensors",
    force: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
) -> None:
    """Write a commented file to start from.

    The file runs as it is. Replace its data, model and loss with your own.

    \b
    Examples:
      betaplane init
      betaplane init train_map.py --from function
    """
    from betaplane.cli.files import check_file, write_whole

    if form not in FORMS:
        raise unknown("form", form, FORMS, where="--from", instead="--from {}")
    check_file(path, "my_problem.py")
    _check_name(path, form)
    if path.exists() and not force:
        raise BadInput(
            "The file exists",
            value=str(path),
            allowed="a new file",
            where="path",
            instead=f"betaplane init {path} --from {form} --force",
        )
    text = starting_file(form, path)
    write_whole(path, text.encode(), "my_problem.py")
    typer.echo(f"Wrote {path}. Its first lines are the commands to run next.")


def _check_name(path: Path, form: str) -> None:
    """Raise BadInput for a file that is no module, or that hides a package which it imports."""
    packages = re.findall(r"^(?:from|import) (\w+)", starting_file(form, path), re.MULTILINE)
    if path.suffix != ".py" or path.stem in packages:
        raise BadInput(
            "The file's name cannot be used",
            value=str(path),
            allowed=f"a name that ends in .py, other than {', '.join(f'{p}.py' for p in packages)}",
            where="path",
            instead=f"betaplane init {path.with_name('my_problem.py')} --from {form}",
        )


def starting_file(form: str, path: Path) -> str:
    """The text of a form's starting file; the commands in it name the path."""
    template = files("betaplane.cli") / "templates" / f"{form}.txt"
    return template.read_text().replace("FILE", str(path))

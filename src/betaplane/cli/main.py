"""The `betaplane` command and its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated

import betaplane.cli.environment  # noqa: F401 - sets variables that torch and typer read

# isort: split

import typer

from betaplane.cli.advise import advise_command
from betaplane.cli.audit import audit_command
from betaplane.cli.catalog import problems_command, rules_command
from betaplane.cli.claims import add_commands
from betaplane.cli.command import Command, Commands
from betaplane.cli.import_sweep import import_command
from betaplane.cli.init import init_command
from betaplane.cli.inspect import inspect_command
from betaplane.cli.map import map_command
from betaplane.cli.plan import plan_command
from betaplane.cli.record import record_command
from betaplane.cli.replay import replay_command
from betaplane.cli.report import report_command
from betaplane.cli.status import status_command
from betaplane.cli.tune import tune_command
from betaplane.errors import BadInput
from betaplane.text import printable

app = typer.Typer(
    cls=Commands,
    name="betaplane",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Find where Adam converges on your problem.

    Start with `betaplane map`: it trains many replicas of a small network on handwritten digits
    over the (beta1, beta2) plane, draws where training converges and where it fails, and
    recommends a setting. Then map your own problem: `betaplane map my_problem.py:problem`.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from betaplane import __version__

        print(f"betaplane {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass  # the callback of --version prints and exits


RESUME = " Finished runs are saved; rerun the same command to resume."


class Stopped(Exception):
    """Ctrl-C, as an exception that typer does not catch; its text says whether runs were saved."""


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            saved = command is map_command or options.get("store")
            raise Stopped(RESUME if saved else "") from None

    return run


COMMANDS = {
    "init": init_command,
    "map": map_command,
    "status": status_command,
    "record": record_command,
    "replay": replay_command,
    "plan": plan_command,
    "problems": problems_command,
    "rules": rules_command,
    "audit": audit_command,
    "advise": advise_command,
    "tune": tune_command,
    "import": import_command,
    "inspect": inspect_command,
    "report": report_command,
}
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_stoppable(_command))
app.add_typer(add_commands(_stoppable), name="claims", cls=Commands)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input prints one sentence to stderr and exits with code 2."""
    try:
        app(args=arguments, prog_name="betaplane")
    except BadInput as error:
        for note in getattr(error, "__notes__", ()):  # the last lines of a command's stderr
            print(printable(note), file=sys.stderr)
        print(f"betaplane: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(f"betaplane: stopped.{stopped}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)

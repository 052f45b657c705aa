"""The `betaplane` command: words to calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated

# the cores are the workers'; more threads would be in their way
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TYPER_USE_RICH", "0")  # plain help text, at half the start-up time

import typer

from betaplane.cli.advise import advise_command
from betaplane.cli.audit import audit_command
from betaplane.cli.catalog import problems_command, rules_command
from betaplane.cli.command import Command
from betaplane.cli.inspect import inspect_command
from betaplane.cli.map import map_command
from betaplane.cli.option_names import with_option_names
from betaplane.cli.record import record_command
from betaplane.cli.replay import replay_command
from betaplane.cli.report import report_command
from betaplane.cli.tune import tune_command
from betaplane.errors import BadInput

app = typer.Typer(
    name="betaplane",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Find where Adam converges on your problem.

    Start with `betaplane map`: it trains many replicas of the handwritten digits side by side over the
    (beta1, beta2) plane, draws where training converges and where it fails, and recommends a setting. Then point
    it at a file of yours: `betaplane map my_problem.py:problem`.""",
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
    pass  # the options print and exit by themselves


STORED = " What was finished is in the store; the same command goes on from there."


class Stopped(Exception):
    """Ctrl-C, under a name that typer does not catch: it would end without a word. Says what was
    kept.
    """


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    @wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            raise Stopped(
                STORED if command is map_command or options.get("store") else ""
            ) from None
        except BadInput as error:
            raise with_option_names(error, command) from error

    return run


COMMANDS = {
    "map": map_command, "record": record_command, "replay": replay_command, "problems": problems_command,
    "rules": rules_command, "audit": audit_command, "advise": advise_command, "tune": tune_command,
    "inspect": inspect_command, "report": report_command,
}  # fmt: skip
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_stoppable(_command))


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input ends with one sentence on stderr and exit code 2."""
    try:
        app(args=arguments, prog_name="betaplane")
    except BadInput as error:
        print(f"betaplane: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(f"betaplane: stopped.{stopped}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)

"""The `betaplane` command: words to calls."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TYPER_USE_RICH", "0")  # plain help text, at half the start-up time

import typer

from betaplane.cli.lists import problems_command, rules_command
from betaplane.cli.map import map_command

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
app.command("map")(map_command)
app.command("problems")(problems_command)
app.command("rules")(rules_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input ends with one sentence on stderr and exit code 2."""
    from betaplane.errors import BadInput

    try:
        app(args=arguments)
    except BadInput as error:
        print(f"betaplane: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "betaplane: stopped. What was finished is in the store; the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)

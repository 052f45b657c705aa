"""The options of `map` and `tune` that describe a command of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from betaplane.errors import BadInput

if TYPE_CHECKING:
    from betaplane.problems import Command

PANEL = "Your own command"
CommandOpt = Annotated[
    Optional[str],
    typer.Option(
        "--command",
        rich_help_panel=PANEL,
        help="Train with this command instead of a problem. It contains placeholders for settings: "
        "{beta1}, {beta2}, {lr}, {seed}, {run} (a folder for each run), ...",
    ),
]
LossOpt = Annotated[
    Optional[str],
    typer.Option(
        "--loss",
        rich_help_panel=PANEL,
        help="Where the command writes its losses: stdout:REGEX, jsonl:PATH:FIELD, csv:PATH:COLUMN, "
        "tensorboard:DIR:TAG or hf:DIR.",
    ),
]
TimeoutOpt = Annotated[
    Optional[str],
    typer.Option(
        "--timeout",
        rich_help_panel=PANEL,
        help="End a run after this time, as failing: 90s, 20m or 2h.",
    ),
]
LossesOpt = Annotated[
    Optional[int],
    typer.Option(
        "--losses",
        rich_help_panel=PANEL,
        help="Number of losses that a run logs: runs that stay above the first are then ended half "
        "way.",
    ),
]
RunsOpt = Annotated[
    Optional[Path],
    typer.Option(
        "--runs",
        rich_help_panel=PANEL,
        help="Folder that keeps the folders {run} [default: each is removed after its run].",
    ),
]
ShellOpt = Annotated[
    bool, typer.Option("--shell", rich_help_panel=PANEL, help="Run the command with /bin/sh.")
]
EnvironmentOpt = Annotated[
    bool,
    typer.Option(
        "--reads-environment",
        rich_help_panel=PANEL,
        help="The script reads BETAPLANE_BETA2, ... from the environment, so that the command need "
        "not mention them.",
    ),
]


def training_source(
    problem: str | None, command: str | None, loss: str | None, options: dict[str, Any]
) -> str | Command:
    """The reference of the problem, by default "digits", or the command that is trained.

    Args:
        problem: reference of a problem.
        command: the command line.
        loss: where the command writes its losses.
        options: other arguments of `Command`; the timeout as text, such as "20m".

    Raises:
        BadInput: a problem and a command are given, an option of a command without one, or a
            command without the source of its losses.
    """
    if command is None:
        _check_none(loss=loss, **options)
        return "digits" if problem is None else problem
    if problem is not None:
        raise BadInput(
            "A problem and a command are given",
            value=problem,
            allowed="one of them",
            where="PROBLEM, --command",
        )
    return _command(command, loss, **options)


def _command(command: str, loss: str | None, *, timeout: str | None, **options: Any) -> Command:
    if loss is None:
        raise BadInput(
            "The command needs a source of its losses",
            allowed="stdout:REGEX, jsonl:PATH:FIELD, csv:PATH:COLUMN, tensorboard:DIR:TAG or hf:DIR",
            where="loss",
            instead=r"--loss 'stdout:loss=(\S+)'",
        )
    from betaplane.cli.environment import ADDED
    from betaplane.durations import seconds_in
    from betaplane.problems import Command

    seconds = None if timeout is None else seconds_in(timeout, "timeout", "--timeout 20m")
    return Command(command, loss, timeout=seconds, environment=dict.fromkeys(ADDED), **options)


def _check_none(**options: Any) -> None:
    """Raise BadInput for an option that only a command has."""
    for name, value in options.items():
        if value:
            raise BadInput(
                "The option belongs to a command",
                value=str(value),
                where=name,
                instead="--command 'python train.py --beta2 {beta2} --seed {seed}'",
            )

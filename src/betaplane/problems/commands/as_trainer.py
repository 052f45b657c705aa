"""A command as the Trainer that maps take."""

from __future__ import annotations

from betaplane.problems.commands.command import Command
from betaplane.problems.problem import Trainer


def from_command(command: Command) -> Trainer:
    """The Trainer that runs a command."""
    return Trainer(command.name, command, best=command.best)

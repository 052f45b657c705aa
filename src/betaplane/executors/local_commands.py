"""Run commands from threads of this process: a command is a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from betaplane.executors.call import call
from betaplane.executors.executor import Executor
from betaplane.executors.slots import Slots
from betaplane.problems import Trainer
from betaplane.problems.commands.command_run import end_runs
from betaplane.text import plural


class LocalCommands(Executor):
    """Slots that each run one command at a time.

    Args:
        trainer: the command.
        environments: variables for the commands of each slot, such as the GPU they see.
    """

    def __init__(self, trainer: Trainer, environments: Sequence[Mapping[str, str]]) -> None:
        self._trainers = [_with_variables(trainer, variables) for variables in environments]
        self._slots = Slots(self._trainers, _run)
        self.name = f"{plural(self.slots, 'command')} at once"

    @property
    def slots(self) -> int:
        """The number of commands at once."""
        return len(self._trainers)

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call function(trainer, *arguments) in a thread."""
        return self._slots.submit(function, arguments)

    def close(self) -> None:
        """End the commands that run, and drop those that wait."""
        self._slots.close(lambda: [end_runs(trainer.command) for trainer in self._trainers])


def _run(trainer: Trainer, function: Callable, arguments: tuple) -> Any:
    return call(function, trainer, arguments)


def _with_variables(trainer: Trainer, variables: Mapping[str, str]) -> Trainer:
    """The trainer, with more variables in the environment of its command."""
    command = trainer.command
    assert command is not None
    return replace(
        trainer, train=replace(command, environment={**command.environment, **variables})
    )

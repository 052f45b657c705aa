"""One run of a command: an iterator of its losses, which ends the command when it is closed."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from betaplane.errors import BadInput
from betaplane.problems.commands.loss_source import Follower
from betaplane.problems.commands.process import Process
from betaplane.problems.commands.run_folder import move_aside, run_folder
from betaplane.problems.commands.session import session

if TYPE_CHECKING:
    from betaplane.problems.commands.command import Command

RUN = "BETAPLANE_RUN"  # variable in the environment of a command: the folder of the run
# Time between two looks into a log: a share of the time of the run so far, within bounds
LOOK_SHARE, MIN_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.02, 0.01, 0.2


@dataclass(frozen=True)
class Exit:
    """How a command ended that was not ended because its verdict was certain."""

    code: int | None  # negative: the signal that ended it; None if it was ended by the timeout
    reason: str  # "exit code 1", "signal 9" or "timeout of 60 s"
    stderr: tuple[str, ...]  # its last lines

    @property
    def failed(self) -> bool:
        """Whether it did not end by itself with exit code 0."""
        return self.code != 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"code": self.code, "reason": self.reason, "stderr": list(self.stderr)}


_running: set[CommandRun] = set()  # of this process


def end_runs(command: Command | None) -> None:
    """End the runs of a command in the threads of this process; each then raises `Ended`."""
    for run in tuple(_running):
        if run.command is command:
            run.cancel()


class Ended(Exception):
    """The command was ended by `end_runs`."""


class CommandFailed(BadInput):
    """A command ended without a loss; its notes are the last lines of its stderr.

    Attributes:
        failure: how it failed; None if it ended with exit code 0.
    """

    failure: dict[str, Any] | None = None


class CommandRun(Iterator[float]):
    """The losses of one run, as they are logged.

    Args:
        command: the command.
        values: the settings as text, by name.

    Attributes:
        exit: how the command ended; None before, and if it was ended by `close`.
    """

    def __init__(self, command: Command, values: Mapping[str, str]) -> None:
        self.command = command
        self.values = values
        self.exit: Exit | None = None
        self._losses = self._run()
        self._cancelled = False

    def __next__(self) -> float:
        return next(self._losses)

    @property
    def failure(self) -> dict[str, Any] | None:
        """How the command failed; None if it did not."""
        return self.exit.to_dict() if self.exit is not None and self.exit.failed else None

    def close(self) -> None:
        """End the command if it runs."""
        self._losses.close()

    def cancel(self) -> None:
        """Make the thread that follows the command end it soon."""
        self._cancelled = True

    def _run(self) -> Generator[float, None, None]:
        command, current = self.command, session()
        named = {name: self.values[name] for name in command.mentioned if name in self.values}
        with run_folder(command.folder, current.folder, named or self.values) as folder:
            values = {**self.values, "run": str(folder)}
            if command.source.path and command.source.form in ("jsonl", "csv"):
                move_aside(command.log_path(values))
            environment = command.variables(values) | current.environment
            arguments = command.arguments(values)
            process = Process(arguments, environment, (RUN, str(folder)))
            _running.add(self)
            try:
                yield from self._follow(process, command.source.follow(values, process.streams))
            finally:
                _running.discard(self)
                process.end()
                process.close()

    def _follow(self, process: Process, follower: Follower) -> Generator[float, None, None]:
        start = time.monotonic()
        limit = self.command.timeout or math.inf
        logged = 0
        running = True
        while running:
            spent = time.monotonic() - start
            if spent > limit:
                break
            if self._cancelled:
                raise Ended
            look = min(max(LOOK_SHARE * spent, MIN_LOOK_SECONDS), MAX_LOOK_SECONDS, limit - spent)
            running = process.wait(look)
            if not running:
                process.drain()
            losses = follower.read(ended=not running)
            logged += len(losses)
            yield from losses
        self.exit = self._exit(process)
        if not logged:
            raise self._failure(follower)
        if self.exit.failed:
            yield math.nan  # a run that fails after some losses has diverged

    def _exit(self, process: Process) -> Exit:
        code = process.code
        if code is None:
            reason = f"timeout of {self.command.timeout:g} s"
        else:
            reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return Exit(code, reason, tuple(process.streams.stderr.tail))

    def _failure(self, follower: Follower) -> CommandFailed:
        assert self.exit is not None
        lines = [line for line in self.exit.stderr if line.strip()]
        if self.exit.failed:
            error = CommandFailed(
                "The command failed before its first loss",
                value=self.exit.reason,
                allowed="losses, and exit code 0",
                where=lines[-1].strip() if lines else "stderr is empty",
            )
        else:
            error = CommandFailed(
                f"The command ended without a loss: {follower.missing()}",
                where="loss",
                instead=self.command.source.example,
            )
        error.failure = self.failure
        for line in lines:
            error.add_note(line)
        return error

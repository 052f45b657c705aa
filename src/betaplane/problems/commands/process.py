"""One running command: its output as it arrives, its end, and ending it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from betaplane.errors import BadInput
from betaplane.problems.commands._watchdog import is_alive, marked, send
from betaplane.problems.commands.streams import LineBuffer, Streams

GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
EXIT_POLL_SECONDS = 0.01  # on systems without process file descriptors
READ_BYTES = 2**16


class Process:
    """A command in a session (and process group) of its own.

    Args:
        arguments: the program and its arguments.
        environment: its environment.
        mark: name and value of a variable in it by which its descendants are recognized.

    Raises:
        BadInput: the program does not exist or cannot be run.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], mark: tuple[str, str]
    ) -> None:
        self.streams = Streams()
        self._mark = mark
        try:
            self._popen = subprocess.Popen(
                arguments,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise BadInput(
                f"The command cannot be started ({error.strerror})",
                value=arguments[0],
                allowed="a program on the PATH, or a path to one",
                where="command",
            ) from error
        self._selector = selectors.DefaultSelector()
        self._watch(self._popen.stdout, self.streams.stdout)
        self._watch(self._popen.stderr, self.streams.stderr)
        self._exit_fd = _exit_descriptor(self._popen.pid)
        if self._exit_fd is not None:
            self._selector.register(self._exit_fd, selectors.EVENT_READ)

    def _watch(self, pipe: IO[bytes] | None, lines: LineBuffer) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, selectors.EVENT_READ, lines)

    def wait(self, seconds: float) -> bool:
        """Take output until something happens or the time is over; returns whether it runs."""
        limit = seconds if self._exit_fd is not None else min(seconds, EXIT_POLL_SECONDS)
        for key, _ in self._selector.select(max(0.0, limit)):
            if key.data is not None:
                self._take(key)
        return self._popen.poll() is None

    def _take(self, key: selectors.SelectorKey) -> None:
        data = os.read(key.fd, READ_BYTES)
        if data:
            key.data.feed(data)
        else:
            self._selector.unregister(key.fileobj)

    def drain(self) -> None:
        """Take what is left in the pipes of a command that has ended.

        A descendant that still runs may keep them open, so their end is not waited for.
        """
        for key in list(self._selector.get_map().values()):
            while key.data is not None and key.fd in self._open_pipes():
                try:
                    self._take(key)
                except BlockingIOError:
                    break
        self.streams.stdout.end()
        self.streams.stderr.end()

    def _open_pipes(self) -> set[int]:
        return {key.fd for key in self._selector.get_map().values()}

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.returncode

    def end(self) -> None:
        """End the command and every process that it started: SIGTERM, then SIGKILL."""
        if self._popen.poll() is not None:
            return
        processes = marked(*self._mark)
        self._signal(signal.SIGTERM)
        send(processes, signal.SIGTERM)  # also those that left the group
        deadline = time.monotonic() + GRACE_SECONDS
        while self._is_ending(processes) and time.monotonic() < deadline:
            time.sleep(EXIT_POLL_SECONDS)
        self._signal(signal.SIGKILL)
        send([*processes, *marked(*self._mark)], signal.SIGKILL)
        self._popen.wait()

    def _is_ending(self, processes: list) -> bool:
        """Whether a process is alive; takes its output, without which it could not end."""
        return self.wait(0.0) or any(map(is_alive, processes))

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def close(self) -> None:
        """Release the pipes."""
        self._selector.close()
        for pipe in (self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()
        if self._exit_fd is not None:
            os.close(self._exit_fd)


def _exit_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None if there is none."""
    with suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None

"""The session of all commands that this process runs: its watchdog, token and temporary folder."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from betaplane.problems.commands._watchdog import DONE, SESSION

_lock = threading.Lock()
_sessions: dict[int, Session] = {}  # by process id: a fork has a session of its own


class Session:
    """A token in the environment of every command, and a process that ends those that have it.

    The watchdog acts only if this process is killed; at its ordinary end every command has ended.
    """

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix="betaplane-runs-"))
        watchdog = Path(__file__).with_name("_watchdog.py")
        self._watchdog = subprocess.Popen(
            [sys.executable, str(watchdog), self.token, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.close)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the watchdog recognizes a command."""
        return {SESSION: self.token}

    def close(self) -> None:
        """End the watchdog and remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._watchdog.stdin is not None:
            with suppress(OSError):
                self._watchdog.stdin.write(DONE)
                self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog.stdin = None


def session() -> Session:
    """The session of this process, started by the first call."""
    with _lock:
        pid = os.getpid()
        if pid not in _sessions:
            _sessions[pid] = Session()
        return _sessions[pid]

"""Who trains what: a process that claims runs, and whether it still lives."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

LEASE = 120.0  # seconds without a beat after which an owner that cannot be looked up is dead

# owners of this process that could not give back what they held: the disk was full
GONE: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """A process that claims runs, told apart from any other process that ever had its number.

    Example:
        >>> Owner.here().pid == os.getpid(), Owner.here() == Owner.here()
        (True, False)
    """

    token: str  # a uuid
    host: str  # the machine's name
    # its boot and process-number space, where known: pids mean the same within one realm only
    realm: str
    pid: int
    started: int | None  # clock ticks from boot to the start of the process; None where unknown

    @classmethod
    def here(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), _realm(), pid, _started(pid))

    def alive(self, beat: float, lease: float = LEASE) -> bool:
        """Whether the owner still works, as far as can be seen from here.

        On this machine it is looked up; elsewhere (and where there is no /proc to look in) it must have beaten within
        the lease.

        Args:
            beat: when it last beat, seconds since the epoch.
            lease: seconds without a beat until it is dead.
        """
        if self.token in GONE:
            return False
        beats = time.time() - beat <= lease
        if (self.host, self.realm) != (socket.gethostname(), _realm()):
            return beats
        if not _exists(self.pid):
            return False
        started = _started(self.pid)
        return beats if started is None or self.started is None else started == self.started


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/pid/stat after the name, which may hold blanks and brackets; None where
    unreadable.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _started(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[19]) if stat else None


def _exists(pid: int) -> bool:
    """Whether a process runs under this number; a zombie (killed, not yet collected) does not run."""
    stat = _stat(pid)
    if stat is not None:
        return stat[0] not in "ZX"
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would not ask there but act; the lease decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _realm() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""

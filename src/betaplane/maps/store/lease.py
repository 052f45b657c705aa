"""Leases: which process trains which run, and whether it is still alive."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

# without a heartbeat, after which an owner whose process cannot be looked up counts as dead
LEASE_SECONDS = 120.0

# tokens of owners in this process that could not release their claims because the disk was full
UNRELEASED_OWNERS: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """A process that claims runs; distinct from every process that had the same pid before.

    Example:
        >>> Owner.here().pid == os.getpid(), Owner.here() == Owner.here()
        (True, False)
    """

    token: str  # a uuid
    host: str  # the machine's name
    # boot id and pid namespace, if known: pids are comparable within one realm only
    realm: str
    pid: int
    started: int | None  # clock ticks from boot to the start of the process; None if unknown

    @classmethod
    def here(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), _realm(), pid, _start_ticks(pid))

    def alive(self, beat: float, lease: float = LEASE_SECONDS) -> bool:
        """Whether the owner is alive, as far as this process can see.

        An owner on this machine is looked up in /proc. Elsewhere, and on systems without /proc, it
        must have sent a heartbeat within the lease.

        Args:
            beat: time of its last heartbeat, seconds since the epoch.
            lease: seconds without a heartbeat after which it counts as dead.
        """
        if self.token in UNRELEASED_OWNERS:
            return False
        within_lease = time.time() - beat <= lease
        if (self.host, self.realm) != (socket.gethostname(), _realm()):
            return within_lease
        if not _is_running(self.pid):
            return False
        started = _start_ticks(self.pid)
        if started is None or self.started is None:
            return within_lease
        return started == self.started


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/pid/stat after the name, which may contain blanks and parentheses; None
    if unreadable.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def _is_running(pid: int) -> bool:
    """Whether a process with this pid runs; a zombie (killed, not yet reaped) does not."""
    fields = _stat_fields(pid)
    if fields is not None:
        return fields[0] not in "ZX"
    if sys.platform == "win32":
        return True  # os.kill(pid, 0) would end the process there; the lease decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it belongs to another user
    return True


def _realm() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""

"""What a job of submitit does: one call, while the process that sent it lives."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NoReturn

from betaplane.errors import BadInput
from betaplane.executors.remote import run
from betaplane.executors.shipment import Manifest

PROBLEM, ALIVE = "problem", "alive"  # names of files in the folder of the jobs
BEAT_SECONDS = 10.0
LOST_SECONDS = 120.0  # without a beat, after which the sender counts as dead


def write_problem(folder: Path, payload: bytes) -> None:
    """Make the folder of the jobs.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        (folder / PROBLEM).write_bytes(payload)
        beat(folder)
    except OSError as error:
        raise BadInput(
            f"The folder of the jobs cannot be written ({error.strerror})",
            value=str(folder),
            allowed="a folder that this machine and the nodes share",
            where="executor",
            instead='store="/shared/map.sqlite"',
        ) from error


def beat(folder: Path) -> None:
    """Show the jobs that the process which sent them lives."""
    (folder / ALIVE).write_text(repr(time.time()))


def run_job(manifest: Manifest, folder: str, call: bytes) -> bytes:
    """In a job: see `remote.run`."""
    path = Path(folder)
    threading.Thread(target=_exit_after_sender, args=(path,), daemon=True).start()
    return run(manifest, (path / PROBLEM).read_bytes, call)


def _exit_after_sender(folder: Path) -> NoReturn:
    """Exit if the folder is removed, or its beat does not change any more."""
    last, changed = "", time.monotonic()
    while time.monotonic() - changed < LOST_SECONDS:
        try:
            text = (folder / ALIVE).read_text()
        except OSError:
            text = last
            if not folder.exists():
                break
        if text != last:
            last, changed = text, time.monotonic()
        time.sleep(min(BEAT_SECONDS, 1.0))
    os._exit(1)

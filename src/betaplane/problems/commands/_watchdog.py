"""The process that ends all commands if betaplane is killed; run as a script, without imports of
the package.

    python _watchdog.py TOKEN FOLDER

It reads its standard input until the end. If the last byte is not DONE, betaplane was killed: the
processes with BETAPLANE_SESSION=TOKEN in their environment, and their descendants, are terminated,
then killed, and the folder of their runs is removed.
"""

import os
import select
import shutil
import signal
import sys
import time

DONE = b"."
SESSION = "BETAPLANE_SESSION"  # variable in the environment of every command
POLL_SECONDS = (
    0.5  # between two checks whether the parent exists: a fork of it may keep the pipe open
)
GRACE_SECONDS = 2.0


def main(token: str, folder: str) -> None:
    """Wait for the end of the parent process, and clean up after it."""
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last = b""
    while os.getppid() == parent:
        if select.select([0], [], [], POLL_SECONDS)[0]:
            data = os.read(0, 4096)
            if not data:
                break
            last = data[-1:]
    if last != DONE:
        end_marked(SESSION, token)
        shutil.rmtree(folder, ignore_errors=True)


def end_marked(variable: str, value: str) -> None:
    """Terminate the marked processes, then kill those that are left."""
    processes = marked(variable, value)
    send(processes, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    send([*processes, *marked(variable, value)], signal.SIGKILL)


def marked(variable: str, value: str) -> list:
    """The processes that have a variable in their environment, and their descendants."""
    import psutil  # imported lazily: it takes longer than the start of a command

    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.pid != os.getpid():
                processes += [process, *process.children(recursive=True)]
        except (psutil.Error, OSError):
            continue
    return list(dict.fromkeys(processes))


def is_alive(process) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(processes: list, number: int) -> None:
    """Send a signal to processes, some of which may have ended."""
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.Error, OSError):
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])

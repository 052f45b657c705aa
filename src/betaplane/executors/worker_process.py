"""One worker process of this machine, which trains runs of one problem.

A worker has one thread. It ends with this process and ignores Ctrl-C, which this process handles.
Output of the user's code in a worker goes to stderr.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NoReturn

import loky

from betaplane.executors.call import call, set_up_torch
from betaplane.executors.executor import WorkerLost
from betaplane.executors.parcel import Parcel

PARENT_POLL_SECONDS = 0.5  # between two checks whether the parent process still exists

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc returns freed memory to the kernel immediately. A training step allocates the same pages
    # again, and the page faults cost as much as the arithmetic. Keep freed memory.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
    # otherwise loky takes this memory for a leak and replaces the worker
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}


class WorkerProcess:
    """A process that is started by the first call, and again by the first call after it was lost.

    Args:
        parcel: the problem.
        variables: environment variables of the process, in addition to those of this one.
        leftovers: folders that it removes if this process is killed.
    """

    def __init__(
        self, parcel: Parcel, variables: Mapping[str, str], leftovers: Sequence[Path]
    ) -> None:
        self._start = (os.getpid(), parcel, [parcel.folder, *leftovers])
        self._environment = {**WORKER_ENVIRONMENT, **variables}
        self._pool: loky.ProcessPoolExecutor | None = None
        self._lock = threading.Lock()  # of starting and ending the process
        self._closed = False

    def call(self, function: Callable, arguments: tuple) -> Any:
        """The result of function(problem, *arguments).

        Raises:
            BadInput: the function raised an error.
            WorkerLost: the process ended.
        """
        try:
            return self._submit(function, arguments).result()
        except BrokenProcessPool as error:
            with self._lock:
                if self._pool is not None:
                    self._pool.shutdown(kill_workers=True)
                self._pool = None
            raise WorkerLost(_exit_codes(error)) from error

    def _submit(self, function: Callable, arguments: tuple) -> Any:
        with self._lock:
            if self._closed:
                raise WorkerLost("closed")
            with _sigint_blocked():
                if self._pool is None:
                    self._pool = loky.ProcessPoolExecutor(
                        1, initializer=_start_worker, initargs=self._start, env=self._environment
                    )
                return self._pool.submit(_call_in_worker, function, arguments)

    def close(self) -> None:
        """Kill the process; a call under way raises WorkerLost."""
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.shutdown(kill_workers=True)
                self._pool = None


# in a worker process: the parcel, and the problem after the first call has opened it
_worker: dict[str, Any] = {}


def _start_worker(parent: int, parcel: Parcel, folders: list[Path]) -> None:
    threading.Thread(target=_exit_after_parent, args=(parent, folders), daemon=True).start()
    os.dup2(2, 1)
    set_up_torch()
    _worker["parcel"] = parcel


def _exit_after_parent(parent: int, folders: list[Path]) -> NoReturn:
    """Exit soon after the parent process has ended, even if it was killed, and remove the folders
    that it left.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _call_in_worker(function: Callable, arguments: tuple) -> Any:
    if "problem" not in _worker:
        _worker["problem"] = _worker["parcel"].open()
    return call(function, _worker["problem"], arguments)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread: processes that are started inside inherit the block; this
    process receives a pending signal after it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # start multiprocessing's helper process before: its start would unblock the signal
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_codes(error: BrokenProcessPool) -> str:
    """The exit code in loky's message, or its first line."""
    codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
    return codes[1] if codes else str(error).splitlines()[0]

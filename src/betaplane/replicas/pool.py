"""A pool of long-lived worker processes with one thread each that train runs of one problem.

Two threads on busy cores were measured to be many times slower than one. A worker therefore has one
thread, and by default there is one worker per core. Subnormal numbers are flushed to zero, since
they slow down arithmetic many times.

A worker ends with this process and ignores Ctrl-C, which this process handles. Output of the user's
code in a worker goes to stderr.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from pickle import PicklingError
from typing import Any, NoReturn

import loky
import torch

from betaplane.cached import cached_property
from betaplane.errors import BadInput
from betaplane.problems import Command, Problem, Trainer
from betaplane.problems.check import call_user_code
from betaplane.problems.commands.command_run import end_runs
from betaplane.problems.source import as_problem
from betaplane.replicas.command_threads import MAX_COMMANDS, CommandThreads
from betaplane.replicas.parcel import Parcel
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.unfinished import UnfinishedRuns
from betaplane.replicas.worker import train

# a reference that `load` takes, or the problem itself
Source = str | Problem | Trainer | Command
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


class Pool:
    """Worker processes for one problem; each call returns a future.

    Args:
        source: the problem, or its reference. If the problem has a reference, workers load its
            functions by it; otherwise the functions are pickled. All workers share the data of this
            process, in one file.
        changes: fields of the problem to replace after loading (`Problem.with_`).
        workers: number of processes; None: one per core; 0: train in this process, when `submit` is
            called. For a command: how many run at once; None: one.
        leftovers: folders to remove if this process is killed.

    Raises:
        BadInput: `workers` is negative or larger than the number of cores.
    """

    def __init__(
        self,
        source: Source,
        changes: dict[str, Any] | None = None,
        workers: int | None = None,
        leftovers: Sequence[Path] = (),
    ) -> None:
        self._problem, self._leftovers = _resolve(source, changes or {}), leftovers
        self._command = self._problem.command if isinstance(self._problem, Trainer) else None
        default = 1 if self._command else cores()
        self.workers = default if workers is None else workers
        largest, why = max(2, cores()), "more workers than cores slow each other down"
        if self._command:
            largest, why = MAX_COMMANDS, "each is a process of its own"
        if not 0 <= self.workers <= largest:
            raise BadInput(
                "workers is out of range",
                value=workers,
                allowed=f"[0, {largest}], since {why}",
                instead=f"workers={default}",
            )

    def submit(
        self,
        runs: Sequence[Run],
        engine: str,
        options: Options,
        storage: UnfinishedRuns | None = None,
    ) -> Future[list[Outcome]]:
        """Train the runs with an engine ("stacked", "plain" or "callable").

        The outcomes have the order of the runs. The state of an unfinished stack is saved to
        `storage` at intervals, and resumed from it.
        """
        return self.call(train, list(runs), engine, options, storage)

    def call(self, function: Callable, *arguments: Any) -> Future:
        """Call function(problem, *arguments) in a worker; `result` returns or raises its result."""
        future: Future = Future()
        try:
            if self.workers:
                return self._submit(function, arguments)
            with _worker_settings():
                future.set_result(_call(function, self._problem, arguments))
        except (BadInput, BrokenProcessPool) as error:
            future.set_exception(error)
        return future

    def _submit(self, function: Callable, arguments: tuple) -> Future:
        if self._command:
            return self._threads.submit(_call, function, self._problem, arguments)
        try:
            with _sigint_blocked():
                return self._executor.submit(_call_in_worker, function, arguments)
        # a worker was started, and the problem pickled
        except (TypeError, AttributeError, PicklingError) as error:
            raise BadInput(
                f"The problem cannot be sent to a worker process ({error})",
                allowed="a problem that pickles, or one that workers can load by themselves",
                where="the problem's functions and tensors",
                instead='map_phases("my_problem.py:problem")  # or workers=0',
            ) from error

    @cached_property
    def _threads(self) -> CommandThreads:
        return CommandThreads(self.workers, lambda: end_runs(self._command))

    @cached_property
    def _executor(self) -> loky.ProcessPoolExecutor:
        """The workers, which are started by the first call."""
        self._parcel = Parcel(self._problem)
        arguments = (os.getpid(), self._parcel, [self._parcel.folder, *self._leftovers])
        return loky.ProcessPoolExecutor(
            self.workers, initializer=_start_worker, initargs=arguments, env=WORKER_ENVIRONMENT
        )

    def result(self, future: Future) -> Any:
        """The result of a call.

        Raises:
            BadInput: the call raised an error, which is named with type, text and line; or its
                worker died.
        """
        try:
            return future.result()
        except BrokenProcessPool as error:
            _raise_worker_death(error)

    def close(self) -> None:
        """Kill the workers and remove the data file; end the commands."""
        if "_threads" in vars(self):
            self._threads.close()
        if "_executor" in vars(self):
            try:
                self._executor.shutdown(kill_workers=True)
            finally:
                self._parcel.remove()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _worker_settings() -> Iterator[None]:
    """Use a worker's settings of torch in this process, and restore them at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _resolve(source: Source, changes: dict[str, Any]) -> Problem | Trainer:
    problem = as_problem(source)
    return problem.with_(**changes) if isinstance(problem, Problem) and changes else problem


# in a worker process: the parcel, and the problem after the first call has opened it
_worker: dict[str, Any] = {}


def _start_worker(parent: int, parcel: Parcel, folders: list[Path]) -> None:
    threading.Thread(target=_exit_after_parent, args=(parent, folders), daemon=True).start()
    os.dup2(2, 1)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
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
    return _call(function, _worker["problem"], arguments)


def _call(function: Callable, problem: Problem | Trainer, arguments: tuple) -> Any:
    """The function's result; an exception of the user's code, which may not pickle, becomes a
    BadInput.
    """
    what = f"Training {problem.name!r} failed"
    return call_user_code(what, lambda: function(problem, *arguments))


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


def _raise_worker_death(error: BrokenProcessPool) -> NoReturn:
    codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
    raise BadInput(
        "A worker process died in training (crash in native code, out of memory, or exit)",
        value=codes[1] if codes else str(error).splitlines()[0],
        allowed="workers that finish",
        instead="workers=1  # needs the least memory",
    ) from error

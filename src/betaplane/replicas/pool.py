"""Long-lived one-thread worker processes that train runs of one problem; one worker a core.

Two threads on busy cores were seen to be many times slower than one, so a worker has one thread,
and cores are used by having several workers. Subnormal numbers are flushed to zero, since they slow
arithmetic down many times.

A worker never outlives this process, does not hear Ctrl-C (this process does, and ends it), and
what the user's code prints in it goes to stderr.
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
from functools import cached_property
from multiprocessing import resource_tracker
from pathlib import Path
from pickle import PicklingError
from typing import Any, NoReturn

import loky
import torch

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer, load
from betaplane.problems.check import call_user_code
from betaplane.replicas.parcel import Parcel
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.unfinished import UnfinishedRuns
from betaplane.replicas.worker import train

Source = str | Problem | Trainer  # what `load` takes, or the thing itself
PULSE = 0.5  # seconds between two looks at whether the process that started a worker still lives

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc gives freed memory back to the kernel at once; a training step asks for the same pages
    # again, and page faults then cost as much as the arithmetic. Keep what was freed.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
    # loky takes kept memory for a leak, and would replace the worker
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}


class Pool:
    """Workers that hold one problem; tasks go in, futures come out.

    Args:
        source: the problem, or the reference to load it by. Workers load the functions of a problem that has a
            reference by themselves; others are sent by value. The data of all of them are this
            process's, in one file.
        changes: fields of the problem to replace after loading (`Problem.with_`).
        workers: how many processes; 0 trains in this one, when `submit` is called.
        leftovers: folders to remove if this process is killed.
    """

    def __init__(
        self,
        source: Source,
        changes: dict[str, Any] | None = None,
        workers: int | None = None,
        leftovers: Sequence[Path] = (),
    ) -> None:
        self.workers = cores() if workers is None else workers
        most = max(2, cores())
        if not 0 <= self.workers <= most:
            raise BadInput(
                "There is no such number of workers",
                value=workers,
                allowed=f"[0, {most}], since more workers than cores slow each other down",
                where="--workers",
                instead=f"--workers {cores()}",
            )
        self._problem, self._leftovers = _resolve(source, changes or {}), leftovers

    def submit(
        self,
        runs: Sequence[Run],
        engine: str,
        options: Options,
        keeper: UnfinishedRuns | None = None,
    ) -> Future[list[Outcome]]:
        """Train the runs with an engine ("stacked", "plain" or "callable"); the outcomes come in
        the same order.

        A stack that is not finished is saved with the keeper from time to time, and continued from there.
        """
        return self.call(train, list(runs), engine, options, keeper)

    def call(self, function: Callable, *arguments: Any) -> Future:
        """function(problem, *arguments) in a worker; ask `result` what came of it."""
        future: Future = Future()
        try:
            if self.workers:
                return self._sent(function, arguments)
            with _as_a_worker():
                future.set_result(_done(function, self._problem, arguments))
        except (BadInput, BrokenProcessPool) as error:
            future.set_exception(error)
        return future

    def _sent(self, function: Callable, arguments: tuple) -> Future:
        try:
            with _ctrl_c_held_back():
                return self._started.submit(_in_worker, function, arguments)
        except (
            TypeError,
            AttributeError,
            PicklingError,
        ) as error:  # a worker was started and the problem pickled
            raise BadInput(
                f"The problem cannot be sent to a worker process ({error})",
                allowed="a problem that pickles, or one that workers can load by themselves",
                where="the problem's functions and tensors",
                instead='map_phases("my_problem.py:problem")  # or workers=0',
            ) from error

    @cached_property
    def _started(self) -> loky.ProcessPoolExecutor:
        """The workers, from the first call on, and what was packed for them."""
        self._parcel = Parcel(self._problem)
        begin = (os.getpid(), self._parcel, [self._parcel.folder, *self._leftovers])
        return loky.ProcessPoolExecutor(
            self.workers, initializer=_begin, initargs=begin, env=WORKER_ENVIRONMENT
        )

    def result(self, future: Future) -> Any:
        """What a call returned.

        Raises:
            BadInput: it raised an error, told with its type, text and line; or its worker died.
        """
        try:
            return future.result()
        except BrokenProcessPool as error:
            _tell_death(error)

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        if "_started" in vars(self):
            try:
                self._started.shutdown(kill_workers=True)
            finally:
                self._parcel.remove()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _as_a_worker() -> Iterator[None]:
    """Train in this process as a worker would, and leave torch's threads as they were."""
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
    problem = load(source) if isinstance(source, str) else source
    return problem.with_(**changes) if isinstance(problem, Problem) and changes else problem


# of a worker process: its one problem, once it is opened, and the parcel it comes in
_held: dict[str, Any] = {}


def _begin(parent: int, parcel: Parcel, folders: list[Path]) -> None:
    threading.Thread(target=_leave_with, args=(parent, folders), daemon=True).start()
    os.dup2(2, 1)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _held["parcel"] = parcel


def _leave_with(parent: int, folders: list[Path]) -> NoReturn:
    """End this process soon after its parent has ended, even if that was killed; remove what it
    could not remove.
    """
    while os.getppid() == parent:
        time.sleep(PULSE)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _in_worker(function: Callable, arguments: tuple) -> Any:
    if "problem" not in _held:
        _held["problem"] = _held["parcel"].opened()
    return _done(function, _held["problem"], arguments)


def _done(function: Callable, problem: Problem | Trainer, arguments: tuple) -> Any:
    """The function's result; what the user's code raises in it, perhaps nothing that pickles,
    becomes a BadInput.
    """
    return call_user_code(
        f"Training {problem.name!r} failed", lambda: function(problem, *arguments)
    )


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Block SIGINT in this thread for a moment: processes started meanwhile never hear it, others
    hear it after.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's helper; its start would end the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tell_death(error: BrokenProcessPool) -> NoReturn:
    codes = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
    raise BadInput(
        "A worker process died while it was training; a crash in native code, or no memory left, or it ended itself",
        value=codes[1] if codes else str(error).splitlines()[0],
        allowed="workers that live",
        instead="--workers 1  # needs the least memory",
    ) from error

"""Long-lived one-thread worker processes that train runs of one problem; one worker a core.

Two threads on busy cores were seen to be many times slower than one, so a worker has one thread, and cores are used
by having several workers. Subnormal numbers are flushed to zero, since they slow arithmetic down many times.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import loky
import torch

from betaplane.problems import Problem, Trainer, load
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.work import train

Source = str | Problem | Trainer  # what `load` takes, or the thing itself

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc gives freed memory back to the kernel at once; a training step asks for the same pages again, and page
    # faults then cost as much as the arithmetic. Keep what was freed.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}


class Pool:
    """Workers that hold one problem; tasks go in, futures come out.

    Args:
        source: the problem, or the reference workers load it by; a problem that does not pickle is sent by value.
        changes: fields of the problem to replace after loading (`Problem.with_`).
        workers: how many processes; 0 trains in this one, when `submit` is called.
    """

    def __init__(self, source: Source, changes: dict[str, Any] | None = None, workers: int | None = None) -> None:
        self.workers = cores() if workers is None else workers
        self._problem = None
        if self.workers == 0:
            self._problem = _resolve(source, changes or {})
        else:
            self._executor = loky.ProcessPoolExecutor(
                self.workers, initializer=_begin, initargs=(source, changes or {}), env=WORKER_ENVIRONMENT
            )

    def submit(self, runs: Sequence[Run], engine: str, options: Options) -> Future[list[Outcome]]:
        """Train the runs with an engine ("stacked", "plain" or "callable"); the outcomes come in the same order."""
        return self.call(train, list(runs), engine, options)

    def call(self, function: Callable, *arguments: Any) -> Future:
        """function(problem, *arguments) in a worker."""
        if self._problem is None:
            return self._executor.submit(_in_worker, function, arguments)
        future: Future = Future()
        try:
            future.set_result(function(self._problem, *arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        if self._problem is None:
            self._executor.shutdown(kill_workers=True)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _resolve(source: Source, changes: dict[str, Any]) -> Problem | Trainer:
    problem = load(source) if isinstance(source, str) else source
    return problem.with_(**changes) if isinstance(problem, Problem) and changes else problem


_held: dict[str, Problem | Trainer] = {}  # the one problem of a worker process


def _begin(source: Source, changes: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _held["problem"] = _resolve(source, changes)


def _in_worker(function: Callable, arguments: tuple) -> Any:
    return function(_held["problem"], *arguments)

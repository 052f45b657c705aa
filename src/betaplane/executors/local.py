"""Execution on this machine: in this process, in worker processes, or on its GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from pickle import PicklingError
from typing import Any

from betaplane.cached import cached_property
from betaplane.errors import BadInput
from betaplane.executors.executor import Executor
from betaplane.executors.gpus import gpu_environments
from betaplane.executors.local_commands import LocalCommands
from betaplane.executors.parcel import Parcel
from betaplane.executors.slots import Slots
from betaplane.executors.this_process import ThisProcess
from betaplane.executors.worker_process import WorkerProcess
from betaplane.problems import Problem, Trainer
from betaplane.text import plural

MAX_COMMANDS = 1024  # at once: they may use several GPUs


@dataclass(frozen=True)
class Local:
    """This machine.

    Args:
        workers: number of processes; None: one per core; 0: train in this process, when a call is
            submitted. For a command: how many run at once; None: one.
        gpus: GPUs, each with `per_gpu` workers that see only this GPU; see `gpu_environments`.
        per_gpu: runs at once on each GPU.

    Raises:
        BadInput: `workers` is negative or larger than the number of cores, or a GPU is not
            available.
    """

    workers: int | None = None
    gpus: Sequence[str] | None = None
    per_gpu: int = 1

    def start(
        self, problem: Problem | Trainer, leftovers: Sequence[Path] = (), store: Path | None = None
    ) -> Executor:
        """The executor of a problem; worker processes are started by its first call.

        Args:
            problem: what is trained. If it has a reference, workers load its functions by it;
                otherwise the functions are pickled. All workers share its data, in one file.
            leftovers: folders to remove if this process is killed.
            store: not used.
        """
        command = problem.command if isinstance(problem, Trainer) else None
        environments = self._environments(command is not None)
        if not environments:
            return ThisProcess(problem)
        if isinstance(problem, Trainer) and command is not None:
            return LocalCommands(problem, environments)
        return LocalWorkers(problem, environments, leftovers, self.gpus)

    def _environments(self, is_command: bool) -> list[dict[str, str]]:
        """The variables of each worker."""
        if self.gpus is not None:
            if self.workers is not None:
                raise BadInput(
                    "workers and gpus are given",
                    value=self.workers,
                    allowed="one of them: a GPU has per_gpu workers",
                    where="workers, gpus",
                    instead="per_gpu=2",
                )
            return gpu_environments(self.gpus, self.per_gpu)
        default = 1 if is_command else cores()
        workers = default if self.workers is None else self.workers
        largest, why = max(2, cores()), "more workers than cores slow each other down"
        if is_command:
            largest, why = MAX_COMMANDS, "each is a process of its own"
        if not 0 <= workers <= largest:
            raise BadInput(
                "workers is out of range",
                value=workers,
                allowed=f"[0, {largest}], since {why}",
                instead=f"workers={default}",
            )
        return [{} for _ in range(workers)]


class LocalWorkers(Executor):
    """Worker processes that live as long as the executor.

    Args:
        problem: see `Local.start`.
        environments: variables of each worker.
        leftovers: see `Local.start`.
        gpus: the GPUs that the workers see, for `name`.
    """

    def __init__(
        self,
        problem: Problem | Trainer,
        environments: Sequence[Mapping[str, str]],
        leftovers: Sequence[Path] = (),
        gpus: Sequence[str] | None = None,
    ) -> None:
        self._problem, self._environments, self._leftovers = problem, environments, leftovers
        self.name = plural(self.slots, "worker process", "worker processes")
        if gpus is not None:
            self.name += f" on {plural(len(gpus), 'GPU')}"

    @property
    def slots(self) -> int:
        """The number of workers."""
        return len(self._environments)

    @cached_property
    def _parcel(self) -> Parcel:
        return _packed(self._problem)

    @cached_property
    def _workers(self) -> list[WorkerProcess]:
        return [
            WorkerProcess(self._parcel, variables, self._leftovers)
            for variables in self._environments
        ]

    @cached_property
    def _calls(self) -> Slots[WorkerProcess]:
        """The workers, which are prepared by the first call."""
        return Slots(self._workers, WorkerProcess.call)

    def submit(self, function: Callable, *arguments: Any) -> Future:
        """Call function(problem, *arguments) in a worker."""
        return self._calls.submit(function, arguments)

    def close(self) -> None:
        """Kill the workers and remove the data file."""
        if "_calls" not in vars(self):
            return
        try:
            self._calls.close(self._end_workers)
            self._end_workers()
        finally:
            self._parcel.remove()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.close()


def _packed(problem: Problem | Trainer) -> Parcel:
    try:
        return Parcel(problem)
    except (TypeError, AttributeError, PicklingError) as error:
        raise BadInput(
            f"The problem cannot be sent to a worker process ({error})",
            allowed="a problem that pickles, or one that workers can load by themselves",
            where="the problem's functions and tensors",
            instead='map_phases("my_problem.py:problem")  # or workers=0',
        ) from error


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Execution on a Slurm cluster: each call is a job, sent as part of an array by submitit."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betaplane.durations import seconds_in
from betaplane.errors import BadInput, not_installed, one_of
from betaplane.executors.cluster import ClusterExecutor
from betaplane.executors.executor import Executor, WorkerLost
from betaplane.executors.job import BEAT_SECONDS, beat, run_job, write_problem
from betaplane.executors.local import cores
from betaplane.executors.options import whole
from betaplane.executors.remote import first_line
from betaplane.executors.shipment import Manifest, pack
from betaplane.problems import Problem, Trainer

CLUSTERS = ("slurm", "local")
POLL_SECONDS = {"slurm": 1.0, "local": 0.05}  # between two looks at the jobs
JOBS = 64  # at once, by default


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster, from a machine that has `sbatch` and shares its files with the nodes.

    Args:
        cluster: "slurm", or "local": each job is a process of this machine.
        partition: of the jobs. None: the default of the cluster.
        account: of the jobs. None: yours.
        time: limit of each job: "20m" or "2h".
        gpus: of each job.
        cpus: of each job; also the threads of torch.
        memory: of each job, in GB. None: the default of the cluster.
        array: jobs at once, waiting or running. None: 64, or for "local" one per core.
    """

    cluster: str = "slurm"
    partition: str | None = None
    account: str | None = None
    time: str | float = "1h"
    gpus: int | str = 0
    cpus: int | str = 1
    memory: int | str | None = None
    array: int | str | None = None

    def __post_init__(self) -> None:
        one_of(CLUSTERS, "executor", cluster=self.cluster)
        array = self.array or (JOBS if self.cluster == "slurm" else cores())
        object.__setattr__(self, "array", whole("slurm", "array", array, least=1))
        object.__setattr__(self, "gpus", whole("slurm", "gpus", self.gpus))
        object.__setattr__(self, "cpus", whole("slurm", "cpus", self.cpus, least=1))
        object.__setattr__(
            self, "time", seconds_in(self.time, "executor", 'executor="slurm:time=2h"')
        )
        if self.memory is not None:
            object.__setattr__(self, "memory", whole("slurm", "memory", self.memory, least=1))

    def start(
        self, problem: Problem | Trainer, leftovers: Sequence[Path] = (), store: Path | None = None
    ) -> Executor:
        """The executor of a problem; see `Local.start`.

        The files of its jobs are in a temporary folder next to the store, or in the current one.
        """
        try:
            import submitit  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise not_installed("submitit", "slurm", "executor") from None
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise BadInput(
                "Slurm is not available on this machine",
                allowed="sbatch on the PATH",
                where="executor",
                instead='executor="slurm:local"  # each job is a process of this machine',
            )
        manifest, payload = pack(problem, threads=int(self.cpus))
        parent = store.parent if store is not None and not leftovers else Path.cwd()
        folder = parent.absolute() / f"betaplane-jobs-{uuid.uuid4().hex[:12]}"
        write_problem(folder, payload)
        return SlurmJobs(submitit, self, manifest, folder)

    def parameters(self) -> dict[str, Any]:
        """Of submitit's executor."""
        optional = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "mem_gb": self.memory,
        }
        return {
            "name": "betaplane",
            "timeout_min": max(1, round(float(self.time) / 60)),
            "gpus_per_node": self.gpus,
            "cpus_per_task": self.cpus,
            "slurm_array_parallelism": self.array,
            **{name: value for name, value in optional.items() if value is not None},
        }


class SlurmJobs(ClusterExecutor):
    """Calls functions in jobs; a thread sends and follows them.

    Args:
        submitit: the module.
        place: what each job requests.
        manifest: of the problem.
        folder: of the jobs, with the problem; removed at the end.
    """

    def __init__(self, submitit: Any, place: Slurm, manifest: Manifest, folder: Path) -> None:
        super().__init__(manifest)
        self._errors, self._folder = submitit.core.utils, folder
        self._array, self._poll = int(place.array or 1), POLL_SECONDS[place.cluster]
        self._submitit = submitit.AutoExecutor(folder=folder, cluster=place.cluster)
        self._submitit.update_parameters(**place.parameters())
        self._waiting: deque[tuple[Future, bytes]] = deque()
        self._jobs: dict[Any, Future] = {}  # that were sent
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="betaplane-jobs", daemon=True)
        where = "Slurm" if place.cluster == "slurm" else "Jobs on this machine"
        self.name = f"{where}, {self._array:,} at once"
        self._thread.start()

    def _measure(self) -> int:
        return self._array

    def _send(self, call: bytes) -> Future:
        reply: Future = Future()
        self._waiting.append((reply, call))
        return reply

    def _when_done(self, task: Future, then: Callable[[Any], None]) -> None:
        task.add_done_callback(then)

    def _explained(self, error: BaseException) -> Exception:
        failed = isinstance(error, self._errors.FailedJobError)
        if isinstance(error, self._errors.UncompletedJobError) and not failed:
            return WorkerLost(first_line(error))
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return BadInput("A job failed", where=lines[-1])

    def _serve(self) -> None:
        last = -BEAT_SECONDS
        while not self._closed.wait(self._poll):
            if time.monotonic() - last >= BEAT_SECONDS:
                last = time.monotonic()
                beat(self._folder)
            self._launch()
            for job in [job for job in self._jobs if job.done()]:
                self._collect(job, self._jobs.pop(job))

    def _launch(self) -> None:
        """Send the calls that wait, as one array, if there is room for them."""
        room = self._array - len(self._jobs)
        calls = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        if not calls:
            return
        try:
            with self._submitit.batch():
                jobs = [
                    self._submitit.submit(run_job, self._manifest, str(self._folder), call)
                    for _, call in calls
                ]
        except Exception as error:  # of sbatch, or of the disk
            for reply, _ in calls:
                reply.set_exception(error)
            return
        self._jobs.update(zip(jobs, (reply for reply, _ in calls), strict=True))

    def _collect(self, job: Any, reply: Future) -> None:
        try:
            reply.set_result(job.result())
        except Exception as error:
            reply.set_exception(error)
        paths = job.paths
        for path in (paths.submitted_pickle, paths.result_pickle, paths.stdout, paths.stderr):
            with suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Cancel the jobs and remove their folder."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        for job in self._jobs:
            with suppress(Exception):  # it may have ended
                job.cancel()
        self._taken()
        shutil.rmtree(self._folder, ignore_errors=True)

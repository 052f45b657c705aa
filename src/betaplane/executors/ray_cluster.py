"""Execution on a Ray cluster: each call is a task with its own request of CPUs and GPUs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betaplane.errors import BadInput, not_installed
from betaplane.executors.address import check_reachable
from betaplane.executors.cluster import ClusterExecutor
from betaplane.executors.executor import Executor, WorkerLost
from betaplane.executors.options import number
from betaplane.executors.remote import first_line, run
from betaplane.executors.shipment import Manifest, pack
from betaplane.problems import Problem, Trainer

AUTO = "auto"  # the cluster of RAY_ADDRESS, or the one that was started last on this machine


@dataclass(frozen=True)
class Ray:
    """A Ray cluster.

    Args:
        address: "HOST:PORT", "ray://HOST:PORT", or "auto" for the cluster of RAY_ADDRESS or of this
            machine. None: as "auto" if there is such a cluster, else a new one on this machine.
        cpus: requested for each call; also the threads of torch.
        gpus: requested for each call, such as 0.5. Ray lets a call see only its GPU.
    """

    address: str | None = None
    cpus: float | str = 1.0
    gpus: float | str = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cpus", number("ray", "cpus", self.cpus))
        object.__setattr__(self, "gpus", number("ray", "gpus", self.gpus))

    def start(
        self, problem: Problem | Trainer, leftovers: Sequence[Path] = (), store: Path | None = None
    ) -> Executor:
        """The executor of a problem; see `Local.start`."""
        if self.address not in (None, AUTO):
            check_reachable(self.address, "Ray", "ray:10.0.0.1:6379")
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise not_installed("ray", "ray", "executor") from None
        shipment = pack(problem, threads=max(1, int(self.cpus)))
        connected = not ray.is_initialized()
        if connected:
            _connect(ray, self.address)
        return RayTasks(ray, self, shipment, connected)


class RayTasks(ClusterExecutor):
    """Calls functions in tasks of Ray; a lost task is submitted again by the caller, not by Ray.

    Args:
        ray: the module, connected to a cluster.
        place: the requests of each call.
        shipment: the problem.
        connected: whether to disconnect at the end.
    """

    def __init__(
        self, ray: Any, place: Ray, shipment: tuple[Manifest, bytes], connected: bool
    ) -> None:
        super().__init__(shipment[0])
        self._ray, self._connected = ray, connected
        self._requests = {"CPU": float(place.cpus), "GPU": float(place.gpus)}
        self._payload = ray.put(shipment[1])
        requests = {"num_cpus": place.cpus, "num_gpus": place.gpus}
        self._run = ray.remote(max_retries=0, **requests)(_run_task)
        self.name = f"Ray, {self.slots:,} at once"
        if place.gpus and not ray.cluster_resources().get("GPU"):
            warnings.warn("The Ray cluster has no GPU now: runs wait for one.", stacklevel=3)

    def _measure(self) -> int:
        resources = self._ray.cluster_resources()
        fits = [int(resources.get(name, 0) / n) for name, n in self._requests.items() if n]
        return min(fits, default=1)

    def _send(self, call: bytes) -> Any:
        # in a list, Ray passes the reference and not the payload, which each process needs once
        return self._run.remote(self._manifest, [self._payload], call)

    def _when_done(self, task: Any, then: Callable[[Any], None]) -> None:
        task.future().add_done_callback(then)

    def _explained(self, error: BaseException) -> Exception:
        errors = self._ray.exceptions
        if isinstance(error, errors.RayError) and not isinstance(error, errors.RayTaskError):
            return WorkerLost(first_line(error))
        return BadInput("A task of Ray failed", where=str(error).strip().splitlines()[-1])

    def close(self) -> None:
        """Cancel the tasks under way, and disconnect if this object connected."""
        for task in self._taken():
            self._ray.cancel(task, force=True)
        if self._connected:
            self._connected = False
            self._ray.shutdown()


def _run_task(manifest: Manifest, payload: list, call: bytes) -> bytes:
    import ray  # pyright: ignore[reportMissingImports]

    return run(manifest, lambda: ray.get(payload[0]), call)


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a new cluster would send statistics
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, logging_level=logging.ERROR)
    except Exception as error:
        raise BadInput(
            f"The connection to Ray failed ({first_line(error)})",
            value=address or AUTO,
            allowed="the address of a cluster with this version of Ray and Python",
            where="executor",
            instead='executor="ray"  # a new cluster on this machine',
        ) from error

"""Execution on a Dask cluster: each call is a task of its scheduler."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from types import BuiltinMethodType, MethodType
from typing import Any

from betaplane.errors import BadInput, not_installed
from betaplane.executors.address import check_reachable
from betaplane.executors.cluster import ClusterExecutor
from betaplane.executors.executor import Executor
from betaplane.executors.remote import first_line, run
from betaplane.executors.shipment import Manifest, pack
from betaplane.problems import Problem, Trainer

SECONDS = "30s"  # to connect
DRAWS = ("dask", "distributed", "tornado")  # packages with threads that may draw random numbers


@dataclass(frozen=True)
class Dask:
    """A Dask cluster. A worker process executes one call at a time.

    Args:
        address: of its scheduler, such as "tcp://10.0.0.1:8786".
    """

    address: str = ""

    def start(
        self, problem: Problem | Trainer, leftovers: Sequence[Path] = (), store: Path | None = None
    ) -> Executor:
        """The executor of a problem; see `Local.start`."""
        check_reachable(self.address, "Dask", "dask:tcp://10.0.0.1:8786")
        try:
            import distributed  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise not_installed("distributed", "dask", "executor") from None
        shipment = pack(problem)
        try:
            client = distributed.Client(self.address, timeout=SECONDS, set_as_default=False)
        except Exception as error:
            raise BadInput(
                f"The connection to Dask failed ({first_line(error)})",
                value=self.address,
                allowed="the address of a scheduler with this version of Dask",
                where="executor",
                instead='executor="dask:tcp://10.0.0.1:8786"',
            ) from error
        return DaskTasks(distributed, client, shipment)


class DaskTasks(ClusterExecutor):
    """Calls functions in tasks of Dask. Its scheduler repeats those of a lost worker.

    Args:
        distributed: the module.
        client: is closed with this object.
        shipment: the problem.
    """

    def __init__(self, distributed: Any, client: Any, shipment: tuple[Manifest, bytes]) -> None:
        super().__init__(shipment[0])
        self._distributed, self._client = distributed, client
        self._keys = (f"betaplane-{self._manifest.token}-{number}" for number in count())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large graph: it has this task once
            # a task, not data: Dask can compute it again if the worker that has it is lost
            self._payload = client.submit(bytes, shipment[1], key=next(self._keys), pure=False)
        self.name = f"Dask, {self.slots:,} worker processes"
        if any(threads > 1 for threads in client.nthreads().values()):
            warnings.warn(
                "A Dask worker has several threads, but executes one run at a time. Start workers "
                "with --nthreads 1.",
                stacklevel=3,
            )

    def _measure(self) -> int:
        return len(self._client.nthreads())

    def _send(self, call: bytes) -> Any:
        key = next(self._keys)
        return self._client.submit(
            _run_task, self._manifest, self._payload, call, key=key, pure=False
        )

    def _when_done(self, task: Any, then: Callable[[Any], None]) -> None:
        task.add_done_callback(then)

    def _explained(self, error: BaseException) -> BadInput:
        if isinstance(error, self._distributed.KilledWorker):
            what = "Dask lost several workers at the same runs (crash, or out of memory)"
            return BadInput(what, where=first_line(error))
        return BadInput(
            f"A task of Dask failed ({first_line(error)})",
            allowed="betaplane on the workers and the scheduler, and a scheduler that runs",
            where="executor",
        )

    def close(self) -> None:
        """Cancel the tasks; one that runs is finished by its worker, and its result dropped."""
        if self._client.status != "closed":
            self._client.cancel([*self._taken(), self._payload])
            self._client.close()


def _run_task(manifest: Manifest, payload: bytes, call: bytes) -> bytes:
    separate_generators(DRAWS)
    return run(manifest, lambda: payload, call)


@cache
def separate_generators(packages: tuple[str, ...]) -> None:
    """Give the loaded modules of packages a random generator of their own, once per process.

    A worker's event loop draws from Python's global generator twice per second, when it estimates
    the size of what it stores. The random numbers of a run would depend on the time that it takes.

    Args:
        packages: names of the packages.
    """
    own, shared = random.Random(), random.random.__self__  # pyright: ignore[reportFunctionMemberAccess]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for attribute, value in list(vars(module).items()):
                if value is random:
                    setattr(module, attribute, own)
                elif isinstance(value, MethodType | BuiltinMethodType) and value.__self__ is shared:
                    setattr(module, attribute, getattr(own, value.__name__))

"""The store and the executor of a map or a search, opened and closed together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from betaplane.errors import BadInput
from betaplane.executors import Backend, Executor
from betaplane.maps.scheduler import Progress
from betaplane.maps.store.report import Reporter
from betaplane.maps.store.schema import Identity
from betaplane.maps.store.store import Store
from betaplane.problems import Problem, Trainer, fingerprint
from betaplane.problems.check import call_user_code


@contextmanager
def opened(
    problem: Problem | Trainer, store: str | Path | None, backend: Backend
) -> Iterator[tuple[Executor, Store, Reporter]]:
    """The executor and the store of a problem, and what reports the progress next to the store.

    Args:
        problem: what is trained.
        store: the file; None: a temporary one.
        backend: where the runs execute.
    """
    with ExitStack() as stack:
        path = Path(store) if store is not None else temporary_store(stack)
        leftovers = [path.parent] if store is None else []
        executor = stack.enter_context(backend.start(problem, leftovers, path))
        runs = stack.enter_context(store_of(problem, path))
        stack.callback(executor.close)  # before the store releases its claims
        report = stack.enter_context(Reporter(path, problem.name, executor.name))
        yield executor, runs, report


def reported(report: Reporter, watch: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """A callback that reports the progress, and calls `watch`."""

    def update(progress: Progress) -> None:
        report.update(
            done=progress.done, wanted=progress.wanted, rate=progress.rate, lost=progress.lost
        )
        watch(progress)

    return update


def check_device(problem: Problem | Trainer, device: str, backend: Backend) -> None:
    """Raise BadInput if runs request GPUs and would not use them.

    Only the runs of a Problem have a device; a function or a command uses what it sees.
    """
    if isinstance(problem, Problem) and device == "cpu" and getattr(backend, "gpus", None):
        raise BadInput(
            "The runs have GPUs, but the device is the CPU",
            value=device,
            allowed="cuda",
            where="device",
            instead='device="cuda"',
        )


def temporary_store(stack: ExitStack) -> Path:
    """The path of a store in a temporary folder that the stack removes."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="betaplane-"))
    return Path(folder) / "map.sqlite"


def store_of(problem: Problem | Trainer, path: str | Path) -> Store:
    """The store of a problem, opened or created."""
    identity = identity_of(problem)
    return Store.open(path, identity.fingerprint, problem.name, former=identity.former)


def identity_of(problem: Problem | Trainer) -> Identity:
    """What a store knows a problem by."""
    what = f"Computing the fingerprint of {problem.name!r} failed"
    identity = call_user_code(what, lambda: fingerprint(problem))
    former = lambda: fingerprint(problem, former=True)  # noqa: E731
    return Identity(identity, problem.name, former)

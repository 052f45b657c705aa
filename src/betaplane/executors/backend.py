"""Choose where runs execute: by an argument such as "ray:ADDRESS", or by workers and GPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from betaplane.errors import BadInput, unknown
from betaplane.executors.dask_cluster import Dask
from betaplane.executors.executor import Executor
from betaplane.executors.local import Local
from betaplane.executors.ray_cluster import Ray
from betaplane.executors.slurm_jobs import Slurm
from betaplane.problems import Problem, Trainer

Gpus = str | Sequence[int | str] | None


class Backend(Protocol):
    """Where runs execute; `start` gives the executor of a problem."""

    def start(
        self, problem: Problem | Trainer, leftovers: Sequence[Path] = (), store: Path | None = None
    ) -> Executor:
        """See `Local.start`."""
        ...


# by the name in `executor="NAME:OPTION=VALUE,..."`
BACKENDS: dict[str, Callable[..., Backend]] = {"ray": Ray, "dask": Dask, "slurm": Slurm}
LOCAL = "local"


def backend_of(
    executor: str | Backend | None,
    workers: int | None = None,
    gpus: Gpus = None,
    per_gpu: int = 1,
) -> Backend:
    """Where runs execute.

    Args:
        executor: a Backend, or its name and options, as in "ray:10.0.0.1:6379,gpus=0.5". A value
            without a name sets the first option. None or "local": this machine.
        workers: worker processes of this machine; see `Local`.
        gpus: GPUs of this machine, as a list or as text with commas.
        per_gpu: runs at once on each GPU.

    Raises:
        BadInput: there is no such executor or option, or its value is not valid.

    Example:
        >>> backend_of(None, workers=2)
        Local(workers=2, gpus=None, per_gpu=1)
    """
    if per_gpu != 1 and gpus is None:
        raise BadInput(
            "The number of runs per GPU is given without the GPUs",
            value=per_gpu,
            where="per_gpu",
            instead=f'gpus="0", per_gpu={max(per_gpu, 1)}',
        )
    if executor in (None, LOCAL):
        return Local(workers, _listed(gpus), per_gpu)
    if workers is not None or gpus is not None:
        raise BadInput(
            "An executor and workers or GPUs of this machine are given",
            value=executor,
            allowed="one of them",
            where="executor, workers, gpus",
            instead=f'executor="{executor}"' if isinstance(executor, str) else "",
        )
    return _parsed(executor) if isinstance(executor, str) else executor


def _listed(gpus: Gpus) -> list[str] | None:
    if gpus is None:
        return None
    return [str(gpu).strip() for gpu in (gpus.split(",") if isinstance(gpus, str) else gpus)]


def _parsed(text: str) -> Backend:
    name, _, rest = text.partition(":")
    if name not in BACKENDS:
        known = [LOCAL, *BACKENDS]
        raise unknown("executor", name, known, where="executor", instead='executor="{}"')
    backend_class: Any = BACKENDS[name]
    fields = [field.name for field in dataclasses.fields(backend_class)]
    options: dict[str, str] = {}
    for position, item in enumerate(filter(None, rest.split(","))):
        option, equals, value = item.partition("=")
        if not equals:
            option, value = (fields[0], item) if position == 0 else (item, "")
        if option not in fields:
            line = f'executor="{text.replace(option, "{}", 1)}"'
            raise unknown("option", option, fields, where=f"executor {name}", instead=line)
        options[option] = value
    return backend_class(**options)

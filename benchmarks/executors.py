"""Overhead of executors: a map of 2,025 runs, each of which is a formula. `python -m benchmarks.executors`.

Bar: 2 worker processes under 5 s more than the same map in this process. Ray and Dask, if they are
installed, start a cluster of two workers on this machine; their start is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from betaplane.maps import map_phases
from betaplane.problems import Trainer

WORKERS = 2


def trivial(settings: dict[str, float], seed: int) -> list[float]:
    return [1.0, 0.9 if settings["beta2"] < 0.5 + 0.4 * settings["beta1"] else 0.0]


def seconds_of_map(points: int, where: dict[str, Any]) -> tuple[int, float]:
    """The number of runs, and wall-clock seconds from the call to the map."""
    trainer = Trainer("trivial", trivial, best=0.0)
    start = time.perf_counter()
    phase_map = map_phases(trainer, points=points, seeds=1, boundary_seeds=1, dense=True, **where)
    return phase_map.trainings, time.perf_counter() - start


@contextmanager
def this_process() -> Iterator[dict[str, Any]]:
    yield {"workers": 0}


@contextmanager
def worker_processes() -> Iterator[dict[str, Any]]:
    yield {"workers": WORKERS}


@contextmanager
def ray() -> Iterator[dict[str, Any]]:
    import ray

    ray.init(num_cpus=WORKERS, logging_level="ERROR")
    try:
        yield {"executor": "ray"}
    finally:
        ray.shutdown()


@contextmanager
def dask() -> Iterator[dict[str, Any]]:
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
    )
    with cluster:
        yield {"executor": f"dask:{cluster.scheduler_address}"}


def main() -> None:
    engines = {
        "this process": this_process,
        f"{WORKERS} worker processes": worker_processes,
        **({"Ray": ray} if find_spec("ray") else {}),
        **({"Dask": dask} if find_spec("distributed") else {}),
    }
    wanted = sys.argv[1:]
    print(
        f"{'executor':<20} {'runs':>6} {'2 x 2 map':>10} {'whole map':>10} {'overhead per run':>17}"
    )
    for name, engine in engines.items():
        if wanted and name.split()[-1] not in wanted:
            continue
        with engine() as where:
            _, first = seconds_of_map(2, where)  # workers start and import torch
            runs, seconds = seconds_of_map(45, where)
        per_run = 1000 * (seconds - first) / runs
        print(
            f"{name:<20} {runs:>6} {first:>8.2f} s {seconds:>8.2f} s {per_run:>14.2f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()

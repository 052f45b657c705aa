"""Overhead of executors: a map of 2,025 runs, each of which is a formula. `python -m benchmarks.executors`.

Bar: with 2 worker processes, the whole map takes under 5 s more than a map of 2 x 2 cells, in which
the workers start. Ray and Dask, if they are installed, have a cluster of two workers here.
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


def seconds_of_map(points: int, where: dict[str, Any]) -> tuple[int, float, float]:
    """The number of runs, wall-clock seconds from the call to the map, and CPU seconds of this
    process.
    """
    trainer = Trainer("trivial", trivial, best=0.0)
    start, worked = time.perf_counter(), time.process_time()
    phase_map = map_phases(trainer, points=points, seeds=1, boundary_seeds=1, dense=True, **where)
    return phase_map.trainings, time.perf_counter() - start, time.process_time() - worked


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
    print("executor               runs  2 x 2 map  whole map  driver's CPU  overhead per run")
    for name, engine in engines.items():
        if wanted and name.split()[-1] not in wanted:
            continue
        with engine() as where:
            _, first, _ = seconds_of_map(2, where)  # workers start and import torch
            runs, seconds, worked = seconds_of_map(45, where)
        figures = f"{first:>8.2f} s {seconds:>8.2f} s {worked:>11.2f} s"
        per_run = 1000 * (seconds - first) / runs
        print(f"{name:<20} {runs:>6} {figures} {per_run:>14.2f} ms", flush=True)


if __name__ == "__main__":
    main()

"""Speed of the store: `python -m benchmarks.store [folder on the disk to measure]`.

Required: at least 1,000 durable results per second, with one transaction each; 2,000 trivial cells
through claim, finish and load in less than 5 s. A loop of raw fsync calls measures the disk.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record, run_key
from betaplane.maps.store.store import Store

RESULTS, POINTS, CHUNK, ROUNDS = 2000, 200, 32, 5


def record(seed: int) -> Record:
    settings = {"beta1": 0.9, "beta2": 0.999}
    curve = np.linspace(2.3, 0.1, POINTS, dtype=np.float32)
    return Record(run_key(settings, seed, 1000), settings, seed, 1000, 2.3, 0.1, curve, 0.1, "none")


def fsyncs(folder: Path) -> float:
    """Seconds for the same number of appends of a row's size, each with fsync."""
    row = bytes(4 * POINTS + 200)
    with (folder / "raw").open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(RESULTS):
            file.write(row)
            os.fsync(file.fileno())
        return time.perf_counter() - start


def one_by_one(folder: Path) -> float:
    """Seconds for one durable transaction per result."""
    records = [record(seed) for seed in range(RESULTS)]
    with Store.open(folder / "one.sqlite", "f", "benchmark") as store:
        start = time.perf_counter()
        for finished in records:
            store.finish([finished])
        return time.perf_counter() - start


def in_chunks(folder: Path) -> float:
    """Seconds of a whole map with runs that take no time: open, load, claim, finish, close."""
    began = time.perf_counter()
    me = Owner.here()
    with Store.open(folder / "chunks.sqlite", "f", "benchmark") as store:
        records = {row.key: row for row in map(record, range(RESULTS))}
        done = store.load(records)
        todo = [key for key in records if key not in done]
        for start in range(0, RESULTS, CHUNK):
            granted = store.claim(todo[start : start + CHUNK], me)
            store.finish(records[key] for key in granted)
        if len(store.load(records)) != RESULTS:
            raise SystemExit("some results are missing")
    return time.perf_counter() - began


def seconds_of(task: Callable[[Path], float], where: str | None) -> float:
    with tempfile.TemporaryDirectory(dir=where) as folder:
        return task(Path(folder))


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    tasks = fsyncs, one_by_one, in_chunks
    # in turn: they share the noise
    rounds = [[seconds_of(task, where) for task in tasks] for _ in range(ROUNDS)]
    raw, single, chunks = (statistics.median(times) for times in zip(*rounds, strict=True))
    finished = f"durable results per second, {POINTS} points each"
    print(f"append + fsync           {RESULTS / raw:8,.0f} per second  (the disk)")
    print(f"finish, one at a time    {RESULTS / single:8,.0f} {finished}")
    print(
        f"{RESULTS:,} trivial results    {chunks:8.2f} s in chunks of {CHUNK}: claim, finish, load"
    )
    load = os.getloadavg()[0]
    print(f"median of {ROUNDS} rounds, load {load:.1f}; required: 1,000 per second, 5 s")


if __name__ == "__main__":
    main()

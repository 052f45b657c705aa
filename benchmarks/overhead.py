"""Overhead of a map: 2,025 cells whose run is a formula. `python -m benchmarks.overhead`.

Bar: under 5 s. Optuna with SQLite took 42 to 142 s for as many trials.
"""

from __future__ import annotations

import time

from betaplane.maps import map_phases
from betaplane.problems import Trainer


def trivial(settings: dict[str, float], seed: int) -> list[float]:
    return [1.0, 0.9 if settings["beta2"] < 0.5 + 0.4 * settings["beta1"] else 0.0]


def main() -> None:
    trainer = Trainer("trivial", trivial, best=0.0)
    for workers in (0, 2):
        start = time.perf_counter()
        phase_map = map_phases(
            trainer, points=45, seeds=1, boundary_seeds=1, dense=True, workers=workers
        )
        seconds = time.perf_counter() - start
        print(
            f"{phase_map.trainings} trivial runs, {workers or 'no'} workers: {seconds:.2f} s in total",
            flush=True,
        )


if __name__ == "__main__":
    main()

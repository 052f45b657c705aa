"""What a map costs beside its trainings: 2,025 cells whose training is a formula. `python -m
benchmarks.overhead`.

Bar: under 5 s (Optuna with SQLite was seen to need 42 to 142 s for as many).
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
        began = time.perf_counter()
        made = map_phases(
            trainer, points=45, seeds=1, boundary_seeds=1, dense=True, workers=workers
        )
        seconds = time.perf_counter() - began
        print(
            f"{made.trainings} trivial trainings, {workers or 'no'} workers: {seconds:.2f} s in all",
            flush=True,
        )


if __name__ == "__main__":
    main()

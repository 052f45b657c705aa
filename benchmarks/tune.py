"""Does `betaplane tune` find the best cell of a dense map, and with how few trainings? `python -m
benchmarks.tune`.

Bar: within 2 % of the best cell, as shares of the way from the loss before training to that cell's,
with at most 15 % of the dense map's trainings. Both take the median of the same seeds. Words choose
problems: `digits text`."""

from __future__ import annotations

import sys
import time

from benchmarks.dense_maps import dense_map
from betaplane.maps import tune
from betaplane.problems import load

PROBLEMS = {"digits": ("digits", 2), "text": ("text:steps=200", 1)}  # and the seeds of a setting


def main(names: list[str]) -> None:
    print(f"{'problem':<16} {'settings':>9} {'trainings':>10} {'loss':>8} {'betas':>18}")
    for source, seeds in (PROBLEMS[name] for name in names or PROBLEMS):
        began = time.perf_counter()
        found = tune(source, seeds=seeds)
        told(source, len(found.trials), found.trainings, found.loss, (found.beta1, found.beta2))
        dense = dense_map(load(source), source, seeds)
        best = min(dense.cells.values(), key=lambda cell: cell.score)
        betas = best.settings["beta1"], best.settings["beta2"]
        told("  dense map", len(dense.cells), dense.trainings, dense.best, betas)
        away, share = (
            (found.loss - dense.best) / (dense.initial - dense.best),
            found.trainings / dense.trainings,
        )
        seconds = time.perf_counter() - began
        print(
            f"  {away:+.2%} from the best cell with {share:.1%} of its trainings ({seconds:.0f} s)",
            flush=True,
        )


def told(what: str, settings: int, trainings: int, loss: float, betas: tuple[float, float]) -> None:
    shown = ", ".join(f"{beta:.5g}" for beta in betas)
    print(f"{what:<16} {settings:>9} {trainings:>10} {loss:>8.4f} {shown:>18}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

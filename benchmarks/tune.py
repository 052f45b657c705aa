"""Loss and number of runs of `betaplane tune`, against the best cell of a dense map.

`python -m benchmarks.tune [digits | text ...]`. Required: a loss within 2% of the best cell's, as a
share of the decrease from the initial loss, with at most 15% of the dense map's runs. Both losses
are medians over the same seeds.
"""

from __future__ import annotations

import sys
import time

from benchmarks.dense_maps import dense_map
from betaplane.maps import tune
from betaplane.problems import load

PROBLEMS = {"digits": ("digits", 2), "text": ("text:steps=200", 1)}  # and seeds per setting


def main(names: list[str]) -> None:
    print(f"{'problem':<16} {'settings':>9} {'runs':>10} {'loss':>8} {'betas':>18}")
    for source, seeds in (PROBLEMS[name] for name in names or PROBLEMS):
        start = time.perf_counter()
        tuned = tune(source, seeds=seeds)
        row(source, len(tuned.trials), tuned.trainings, tuned.loss, (tuned.beta1, tuned.beta2))
        dense = dense_map(load(source), source, seeds)
        best = min(dense.cells.values(), key=lambda cell: cell.score)
        betas = best.settings["beta1"], best.settings["beta2"]
        row("  dense map", len(dense.cells), dense.trainings, dense.best, betas)
        excess = (tuned.loss - dense.best) / (dense.initial - dense.best)
        share, seconds = tuned.trainings / dense.trainings, time.perf_counter() - start
        print(f"  {excess:+.2%} from the best cell with {share:.1%} of its runs ({seconds:.0f} s)")


def row(name: str, settings: int, runs: int, loss: float, betas: tuple[float, float]) -> None:
    text = ", ".join(f"{beta:.5g}" for beta in betas)
    print(f"{name:<16} {settings:>9} {runs:>10} {loss:>8.4f} {text:>18}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

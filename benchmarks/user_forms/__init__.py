"""Twelve users' trainings, mapped as they are, and compared with loops without betaplane.

For each problem: a dense map of 4 x 4 cells over beta2 and the learning rate; then a plain loop
trains ten of its cells, drawn by a fixed seed, and the verdicts are compared. No run is stopped
early.

    python -m benchmarks.user_forms            all twelve
    python -m benchmarks.user_forms cnn gpt2   some
"""

from __future__ import annotations

import inspect
import random
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from betaplane.maps import PhaseMap, map_phases
from betaplane.maps.verdicts import score, verdict
from betaplane.replicas import Options, final_value

MAX_LINES = 5  # of betaplane, per problem
CELLS = 10
# A run that stays above its first loss until half its steps counts as failing, and is stopped. In as
# few as 60 steps some of them recover later, so the loops are compared with whole runs.
WHOLE = Options(early_stop=False)
FIRST = 5  # steps whose losses are compared
FORMS = {  # name: module, prefix of its functions
    "CNN with BatchNorm": ("vision", "cnn"),
    "padded transformer classifier": ("sequences", "transformer"),
    "LSTM language model": ("sequences", "lstm"),
    "regression with feature scaling": ("tables", "regression"),
    "tied autoencoder": ("vision", "autoencoder"),
    "graph network": ("tables", "graph"),
    "GPT-2, dict batches and .loss": ("sequences", "gpt2"),
    "DataLoader with a collate function": ("tables", "collate"),
    "IterableDataset": ("tables", "stream"),
    "Lightning module": ("libraries", "lightning"),
    "Hugging Face Trainer": ("libraries", "trainer"),
    "training script as a command": ("script", "script"),
}


class UserForm(NamedTuple):
    """What a user gives to betaplane, and the same training without it."""

    form: Callable[[], Any]
    loop: Callable[[dict[str, float], int], list[float]]

    @property
    def lines(self) -> int:
        """Lines of the function that gives the training to betaplane, without its first."""
        return len(inspect.getsource(self.form).strip().splitlines()) - 1


class Comparison(NamedTuple):
    """Verdicts of ten cells of a map, and of the loop."""

    lines: int
    phase_map: PhaseMap
    cells: list[tuple[int, int]]
    loop_losses: list[list[float]]
    loop_verdicts: list[int]

    @property
    def equal(self) -> int:
        """The number of cells with equal verdicts."""
        ours = [self.phase_map.cells[cell].verdict for cell in self.cells]
        return sum(a == b for a, b in zip(ours, self.loop_verdicts, strict=True))

    @property
    def largest_difference(self) -> float:
        """The largest relative difference of the first losses: later, settings that fail amplify
        rounding errors.
        """
        ours = [self.phase_map.cells[cell].curve[:FIRST] for cell in self.cells]
        theirs = [np.array(losses[:FIRST]) for losses in self.loop_losses]
        return max(
            float(np.max(np.abs(a - b[: len(a)]) / np.abs(b[: len(a)])))
            for a, b in zip(ours, theirs, strict=True)
        )


def user_form(name: str) -> UserForm:
    """The form and the loop of one problem."""
    module, prefix = FORMS[name]
    loaded = import_module(f"benchmarks.user_forms.{module}")
    return UserForm(getattr(loaded, f"{prefix}_form"), getattr(loaded, f"{prefix}_loop"))


def compare(name: str, points: int = 4, cells: int = CELLS) -> Comparison:
    """Map a problem, and train some cells of the map by its loop."""
    mine = user_form(name)
    phase_map = map_phases(
        mine.form(), ("beta2", 0.0, 0.999), ("lr", 1e-3, 1.0), points,
        seeds=1, boundary_seeds=1, dense=True, search_lr=False, workers=2, options=WHOLE,
    )  # fmt: skip
    drawn = random.Random(0).sample(sorted(phase_map.cells), cells)
    losses = [mine.loop(dict(phase_map.cells[cell].settings), 0) for cell in drawn]
    scores = [score(_final(run), phase_map.initial, phase_map.best) for run in losses]
    verdicts = [verdict(s, phase_map.thresholds) for s in scores]
    return Comparison(mine.lines, phase_map, drawn, losses, verdicts)


def _final(losses: list[float]) -> float:
    return final_value(np.array(losses, np.float32))


def main(names: list[str]) -> None:
    """Print lines, equal verdicts and the largest difference of each problem."""
    warnings.simplefilter("ignore")
    chosen = [name for name in FORMS if not names or FORMS[name][1] in names]
    print(f"{'problem':36} lines  engine    verdicts equal  first losses differ by  seconds")
    for name in chosen:
        start = time.monotonic()
        c = compare(name)
        print(
            f"{name:36} {c.lines:5}  {c.phase_map.facts['engine']:9} {c.equal:6} of {len(c.cells):2}"
            f"{c.largest_difference:23.1e} {time.monotonic() - start:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])

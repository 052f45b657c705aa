"""Verdicts of maps against a plain torch loop with other seeds.

`python -m benchmarks.verdicts [PROBLEM ...] [--cells N]`: references as file.py:name; by default
twelve of `benchmarks/recommend_problems`, about 40 minutes. Of each problem a map of 8 x 8 cells is
trained; then a plain loop (`benchmarks/plain_loop.py`) trains cells drawn by chance among those that
the map trained and decided, and as many of those that it left undecided, with five seeds that the
map did not use. A cell agrees if both verdicts are equal. The losses of the loop are scored seed by
seed as the map scores its own: 1 is the loss before training, 0 the best of that seed among the
cells drawn, the best cell of the map and the default.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.plain_loop import final_loss, train_losses
from benchmarks.recommend import FOLDER
from benchmarks.stored_maps import small_map
from betaplane.maps import PhaseMap
from betaplane.maps.phase_map import VERDICTS, Cell
from betaplane.maps.verdicts import judge, score
from betaplane.problems import Problem, load

NAMES = (
    "diabetes", "embed_lm", "lstm_lm", "cnn_bn_digits", "tied_autoencoder", "graph_net",
    "gan_ring", "gpt2_docs", "transformer_clf", "poisson_glm", "matrix_fact", "pinn_bvp",
)  # fmt: skip
TWELVE = [f"{FOLDER / name}.py:problem" for name in NAMES]
SEEDS = range(3000, 3005)
CELLS = 10


def main(sources: Sequence[str], cells: int = CELLS) -> None:
    """Print a row per problem and the shares of cells that agree."""
    print(f"{'problem':<20}{'decided':>12}{'undecided':>12}   disagreements")
    totals = np.zeros((2, 2), int)
    for source in sources or TWELVE:
        totals += measure(source, cells)
    for name, (agree, count) in zip(("decided", "undecided"), totals, strict=True):
        share = f" ({agree / count:.1%})" if count else ""
        print(f"{name} cells that agree: {agree} of {count}{share}")


def measure(source: str, count: int) -> np.ndarray:
    """Cells that agree and cells compared, (2, 2): a row for decided, one for undecided cells."""
    start = time.perf_counter()
    problem = load(source)
    assert isinstance(problem, Problem)
    phase_map = small_map(source, search_lr=False)
    draw = np.random.default_rng(0)
    groups = [
        [cell for cell in phase_map.cells.values() if cell.decided is decided]
        for decided in (True, False)
    ]
    drawn = [[group[i] for i in draw.permutation(len(group))[:count]] for group in groups]
    pairs = compared(problem, phase_map, drawn[0] + drawn[1])
    same = [mine == plain for mine, plain in pairs]
    n = len(drawn[0])
    counts = np.array([[sum(same[:n]), n], [sum(same[n:]), len(same) - n]])
    wrong = ", ".join(
        _said(cell, pair)
        for cell, pair in zip(drawn[0], pairs[:n], strict=True)
        if pair[0] != pair[1]
    )
    columns = "".join(f"{f'{agree} of {total}':>12}" for agree, total in counts)
    print(
        f"{problem.name:<20}{columns}   {wrong} ({time.perf_counter() - start:.0f} s)", flush=True
    )
    return counts


def compared(problem: Problem, phase_map: PhaseMap, cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """The verdict of the map and that of the plain loop, for each cell."""
    best = min(phase_map.cells.values(), key=lambda cell: cell.score)
    default = {"beta1": 0.9, "beta2": 0.999}
    finals = np.array(
        [
            [final_loss(train_losses(problem, settings, seed)) for seed in SEEDS]
            for settings in [*(cell.settings for cell in cells), best.settings, default]
        ]
    )
    lowest = np.minimum(finals.min(axis=0), phase_map.initial)
    scores = [
        [score(final, phase_map.initial, best) for final, best in zip(row, lowest, strict=True)]
        for row in finals.tolist()
    ]
    return [
        (
            cell.verdict,
            judge({}, row, [np.empty(0)] * len(row), row, phase_map.thresholds).verdict,
        )
        for cell, row in zip(cells, scores, strict=False)
    ]


def _said(cell: Cell, pair: tuple[int, int]) -> str:
    mine, plain = (VERDICTS[verdict] for verdict in pair)
    s = cell.settings
    return f"({s['beta1']:.3g}, {s['beta2']:.4g}) {mine}, loop {plain}, score {cell.score:.3f}"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    cells = int(arguments.pop(arguments.index("--cells") + 1)) if "--cells" in arguments else CELLS
    main([argument for argument in arguments if argument != "--cells"], cells)

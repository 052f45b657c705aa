"""Whether a replay saves runs of a map: python -m benchmarks.replay_prior [NAME ...]

Four problems are trained on 32 x 32 cells with two seeds. Maps of 20 to 160 runs are then drawn
from these runs, three times: without a prediction; with the predicted verdicts of 13 x 13 cells,
each of which counts as a run until the cell is trained; and with these verdicts only if 90% of the
runs of the start grid agree with them. As predictions serve a replay of 512 gradients, and, as an
example of a wrong one, the rule beta1 >= sqrt(beta2). The figures are shares of the plane whose
verdict, failing or not, is wrong; means over both seeds. It takes a few minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.synthetic_maps import labels, train
from betaplane.maps import map_phases
from betaplane.maps.phase_map import FAILING, GOOD, Spot
from betaplane.maps.sampling.ask_tell import Refine, fill_by_surface
from betaplane.maps.sampling.quadtree import start_lines
from betaplane.problems import Problem, load
from betaplane.replay import predicted, record_problem, replay_gradients

FOLDER = Path(".benchmarks")  # ignored by git
PROBLEMS = {
    "digits:steps=200": {"lr": 0.03},
    "sparse:steps=300": {},
    "counterexample:n=20": {},
    "quadratic": {},
}
POINTS, SEEDS, LATTICE, BATCH, MIN_AGREEMENT = 32, 2, 13, 8, 0.9
BUDGETS = (20, 40, 80, 160)
Label = Callable[[Spot, int], int]
Votes = dict[Spot, list[int]]


def failing_share(name: str, how: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The share of failing runs of each cell, (POINTS, POINTS), and the values of both axes."""
    FOLDER.mkdir(exist_ok=True)
    phase_map = map_phases(
        name, points=POINTS, seeds=SEEDS, boundary_seeds=SEEDS, dense=True, search_lr=False,
        workers=1, store=FOLDER / f"{name} {POINTS}.sqlite", **how,
    )  # fmt: skip
    scale = phase_map.initial - phase_map.best
    share = np.zeros((POINTS, POINTS))
    for spot, cell in phase_map.cells.items():
        scores = (np.array(cell.finals) - phase_map.best) / scale
        share[spot] = np.mean(~(scores <= phase_map.thresholds.failing))
    return share, np.array(phase_map.x.values), np.array(phase_map.y.values)


def with_prediction(fails: np.ndarray, budget: int, label: Label, is_checked: bool) -> Votes:
    """The votes of a map that starts from predicted verdicts.

    Args:
        fails: the prediction, bool (POINTS, POINTS).
        budget: number of runs.
        label: the verdict of a run.
        is_checked: whether the start grid is trained first and has to agree.
    """
    usual = Refine(fails.shape, seeds=1, budget=budget)
    votes = {spot: [label(spot, 0)] for spot, _ in (usual.ask() if is_checked else [])}
    agreeing = sum((seen[0] == FAILING) == fails[spot] for spot, seen in votes.items())
    if agreeing < MIN_AGREEMENT * len(votes):
        return train(Refine(fails.shape, seeds=1, budget=budget), label)
    return _continued(fails, budget, label, votes)


def _continued(fails: np.ndarray, budget: int, label: Label, votes: Votes) -> Votes:
    lines = start_lines(POINTS, LATTICE)
    spots = [(int(i), int(j)) for i in lines for j in lines]
    assumed = {spot: [FAILING if fails[spot] else GOOD] for spot in spots}
    chooser = Refine(fails.shape, seeds=1, budget=budget + len(assumed), batch=BATCH)
    chooser.asked |= dict.fromkeys({**assumed, **votes}, 1)
    chooser.tell({**assumed, **votes})
    while (left := budget - sum(map(len, votes.values()))) > 0 and (batch := chooser.ask()):
        for spot, runs in batch[:left]:
            is_first = spot in assumed and spot not in votes
            votes[spot] = [label(spot, k) for k in range(max(1, runs - is_first))]
        chooser.asked |= {spot: len(seen) for spot, seen in votes.items()}
        chooser.tell({**assumed, **votes})
    return {**assumed, **votes}


def misjudged(votes: Votes, fails: np.ndarray) -> float:
    verdicts, _ = fill_by_surface(fails.shape, votes)
    return float(((verdicts == FAILING) != fails).mean())


def main(names: list[str]) -> None:
    heads = ["runs", "none", "replay", "checked", "rule", "checked"]
    found: dict[int, list[list[float]]] = {budget: [] for budget in BUDGETS}
    for name in names or PROBLEMS:
        share, x, y = failing_share(name, PROBLEMS[name])
        problem, fails = load(name), share >= 0.5
        assert isinstance(problem, Problem)
        replay = replay_gradients(record_problem(problem), beta1=x, beta2=y)
        predictions = predicted(replay) == FAILING, x[:, None] >= np.sqrt(y)
        wrong = [f"{np.mean(fails != prediction):.1%}" for prediction in predictions]
        print(f"{name}: the replay misjudges {wrong[0]}, the rule {wrong[1]}")
        for budget in BUDGETS:
            rows = [row(share, fails, predictions, budget, seed) for seed in range(SEEDS)]
            found[budget].append(list(np.mean(rows, axis=0)))
    print("  ".join(f"{head:>7}" for head in heads))
    for budget, rows in found.items():
        print("  ".join([f"{budget:7}", *(f"{value:7.2%}" for value in np.mean(rows, axis=0))]))


def row(
    share: np.ndarray,
    fails: np.ndarray,
    predictions: tuple[np.ndarray, np.ndarray],
    budget: int,
    seed: int,
) -> list[float]:
    """The misjudged shares of the maps of one budget and seed, in the order of the columns."""
    label = labels(share, seed)
    usual = train(Refine(fails.shape, seeds=1, budget=budget), label)
    others = [
        with_prediction(prediction, budget, label, is_checked)
        for prediction in predictions
        for is_checked in (False, True)
    ]
    return [misjudged(votes, fails) for votes in (usual, *others)]


if __name__ == "__main__":
    main(sys.argv[1:])

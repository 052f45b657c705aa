"""Does replay predict what training finds? `python -m benchmarks.replay [boundary | agreement |
text | cost ...]`.

Tables: where the counterexample turns, against theory and simulation; predicted maps against
trained ones, dense, 16 x 16, one seed; when and how to record; what recording and replaying cost.
"""

from __future__ import annotations

import inspect
import math
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.dense_maps import dense_map
from betaplane.maps.phase_map import FAILING, GOOD, PhaseMap
from betaplane.maps.verdicts import verdict
from betaplane.problems import Problem, counterexample, load
from betaplane.replay import (
    Gradients,
    Layer,
    predicted,
    record_gradients,
    record_problem,
    replay_gradients,
    turning_point,
    with_batch_size,
)
from betaplane.theory import critical_beta2

PROBLEMS = (
    "digits:steps=500",
    "digits:model=logistic,steps=500",
    "sparse:steps=500",
    "valley:noise=1,steps=500",
)
SIZES, TEXT_SIZES = (4, 32, 128), (4, 16, 32)
ROWS, COORDINATES = 512, 2000


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or ("boundary", "agreement", "recording", "cost"):
        began = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - began:.0f} s)\n", flush=True)


# Where the counterexample turns.

# Critical 1 - beta2 at a = 1 from simulated averages (3e6 steps, about 2 percent), as in
# benchmarks/known_results.
SIMULATED = {
    (10, 0.0, "shuffle"): 0.0419, (10, 0.9, "shuffle"): 0.135, (20, 0.0, "shuffle"): 0.0103,
    (20, 0.9, "shuffle"): 0.0210, (50, 0.0, "shuffle"): 0.00162, (50, 0.9, "shuffle"): 0.00227,
    (10, 0.0, "replacement"): 0.0223, (10, 0.9, "replacement"): 0.0270, (20, 0.0, "replacement"): 0.00526,
    (20, 0.9, "replacement"): 0.00554, (50, 0.0, "replacement"): 0.00084,
}  # fmt: skip


def boundary_table() -> None:
    """Critical 1 - beta2 of the counterexample, a = 1, by replay: against the closed form, or
    simulated averages.
    """
    row("order", "n", "beta1", "replay", "known", "off by")
    for n in (10, 20, 50):
        for beta1 in (0.0, 0.5, 0.9):
            found = 1 - turning_point(record_problem(counterexample(n=n), steps=2 * n), beta1)
            turn("cyclic", n, beta1, found, 1 - critical_beta2(beta1, n))
    for (n, beta1, order), known in SIMULATED.items():
        turn(order, n, beta1, 1 - turning_point(slopes(n, order), beta1), known)


def turn(order: str, n: int, beta1: float, found: float, known: float) -> None:
    row(order, n, beta1, f"{found:.5f}", f"{known:.5f}", f"{found / known - 1:+.2%}")


def slopes(n: int, order: str, steps: int = 100_000, columns: int = 16) -> Gradients:
    """Gradients of the counterexample, each loss equally often, so that the mean has no error; see
    tests/replay.
    """
    draw, epochs = np.random.default_rng(0), steps // n
    found = np.full((epochs * n, columns), -1.0)
    for column in found.T:
        shuffled = np.arange(epochs) * n + draw.integers(0, n, epochs)
        column[
            shuffled if order == "shuffle" else draw.choice(len(column), epochs, replace=False)
        ] = n
    return Gradients(torch.from_numpy(found), (Layer("x", (columns,), columns),))


# Predicted against trained.


@dataclass(frozen=True)
class Agreement:
    """How well one set of verdicts foretells another, over the cells of a plane; nan where cells
    are all of one kind.

    "Beside" judges each trained cell against the best at its own beta1, all else equal: what only beta2 decides.
    """

    # balanced accuracy of good against the rest, trained cells judged against the best of all
    good: float
    beside: float  # the same, judged against the best at the same beta1
    failing: float  # balanced accuracy of failing against the rest
    # median over beta1 of |decades of 1 - beta2| between where good begins in each, judged beside
    good_off: float
    failing_off: float  # the same, where failing ends


def agreement(found: np.ndarray, truth: PhaseMap) -> Agreement:
    kept, heights, alone = truth.verdicts, truth.y.positions, beside(truth)
    return Agreement(
        balanced(found == GOOD, kept == GOOD), balanced(found == GOOD, alone == GOOD),
        balanced(found == FAILING, kept == FAILING), apart(found == GOOD, alone == GOOD, heights),
        apart(found != FAILING, kept != FAILING, heights),
    )  # fmt: skip


def beside(truth: PhaseMap) -> np.ndarray:
    """Verdicts of a dense map's cells, each judged against the best at its beta1 rather than the
    best of all.
    """
    scores = np.array(
        [[truth.cells[i, j].score for j in range(len(truth.y))] for i in range(len(truth.x))]
    )
    best = scores.min(axis=1, keepdims=True)
    again = (scores - best) / (1 - best)
    return np.vectorize(lambda score: verdict(score, truth.thresholds), otypes=[np.int8])(again)


def apart(found: np.ndarray, truth: np.ndarray, heights: np.ndarray) -> float:
    """The median over beta1 of the distance between two edges, where both have one."""
    ends = [(edge(a, heights), edge(b, heights)) for a, b in zip(found, truth, strict=True)]
    away = [abs(a - b) for a, b in ends if math.isfinite(a + b)]
    return float(np.median(away)) if away else math.nan


def balanced(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the shares found right among what is so and among what is not; nan where all cells
    are of one kind.
    """
    if truth.all() or not truth.any():
        return math.nan
    return float((found[truth].mean() + (~found[~truth]).mean()) / 2)


def edge(fine: np.ndarray, heights: np.ndarray) -> float:
    """Between which heights everything above is fine: their middle; nan where all is or the topmost
    is not.
    """
    if fine.all() or not fine[-1]:
        return math.nan
    below = int(np.flatnonzero(~fine)[-1])
    return float((heights[below] + heights[below + 1]) / 2)


def foretold(stream: Gradients, truth: PhaseMap) -> np.ndarray:
    return predicted(replay_gradients(stream, truth.x.values, truth.y.values))


def by_rule(truth: PhaseMap) -> np.ndarray:
    """What beta1 < sqrt(beta2) foretells: good where it holds, failing where it does not."""
    beta1, beta2 = (np.array(axis.values) for axis in (truth.x, truth.y))
    return np.where(beta1[:, None] <= np.sqrt(beta2), GOOD, FAILING)


def agreement_table() -> None:
    """Predicted against trained: 512 gradients at 100 steps, at the batch size that is trained
    with.

    The learning rate is the problem's own. Balanced accuracy of "good" against the other verdicts, trained cells judged
    against the best of all; then against the best at the same beta1 ("beside"); of "failing"; then decades of 1 - beta2
    between where good begins and where failing ends in each, median over beta1. "Rule" is beta1 < sqrt(beta2).
    """
    head()
    for name in PROBLEMS:
        for size in SIZES:
            compare(load(name).with_(batch_size=size), name)
    compare(load("counterexample:n=10"), "counterexample:n=10")


def text_table() -> None:
    """The same for 200 steps of the text problem; half an hour, most of it training."""
    head()
    for size in TEXT_SIZES:
        compare(load("text:steps=200").with_(batch_size=size), "text:steps=200")


def head() -> None:
    columns = ("good", "beside", "failing", "off good", "off fail")
    row("problem", "batch", "good", "failing", "", *columns, "rule:", "good", "beside", "failing")


def compare(problem: Problem, name: str) -> None:
    truth = dense_map(problem, name)
    shares = [f"{(truth.verdicts == kind).mean():.0%}" for kind in (GOOD, FAILING)]
    stream = record_problem(problem, COORDINATES, ROWS, after=100)
    ours, rule = (agreement(found, truth) for found in (foretold(stream, truth), by_rule(truth)))
    told = (*astuple(ours), "", rule.good, rule.beside, rule.failing)
    row(name, problem.batch_size, *shares, "", *told)


def recording_table() -> None:
    """When and how to record the digits: balanced accuracy of failing.

    Trained for 300 steps. At start, at 100 and 300 steps the weights stand still; live they move through the first 512.
    "From the other": batch 4 stretched from 128, or 128 averaged from 2,048 gradients of batch 4.
    """
    row("problem", "batch", "at start", "at 100", "at 300", "live", "from the other")
    small, large = (load("digits:steps=300").with_(batch_size=size) for size in (4, 128))
    for problem, other, rows in ((small, large, ROWS), (large, small, 2048)):
        truth = dense_map(problem, "digits:steps=300")
        streams = [
            record_problem(problem, COORDINATES, ROWS, after=after) for after in (0, 100, 300)
        ]
        streams.append(record_problem(problem, COORDINATES, ROWS, live=True))
        streams.append(
            with_batch_size(record_problem(other, COORDINATES, rows, after=100), problem.batch_size)
        )
        row(
            problem.name,
            problem.batch_size,
            *(agreement(foretold(each, truth), truth).failing for each in streams),
        )


# What it costs.


def cost_table() -> None:
    """Recording 20,000 coordinates beside a training step; the 64 x 64 replay of 512 x 20,000
    gradients.

    Recording in CPU time on one thread, so that neighbours do not count; a step is an MLP's of 2 million parameters at
    batch 256, far cheaper than those that anybody would spare.
    """
    step, row_taken = step_and_row()
    print(f"a step {1e3 * step:.2f} ms, a row {1e3 * row_taken:.2f} ms: {row_taken / step:+.1%}")
    values = torch.randn(ROWS, 20_000, generator=torch.Generator().manual_seed(0)) + 0.1
    stream = Gradients(values, tuple(Layer(f"layer {i}", (400,), 200) for i in range(100)))
    began, used = time.perf_counter(), time.process_time()
    replay_gradients(stream)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"64 x 64 cells: {wall:.1f} s, {cpu:.1f} s of CPU, {most:.2f} GB at most in this process")


def step_and_row(rounds: int = 9) -> tuple[float, float]:
    """Seconds of CPU that a training step takes, and that the row recorded before it takes;
    medians.
    """
    model = nn.Sequential(
        nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512)
    )
    optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(256, 512)
    record, steps, rows = record_gradients(model, steps=rounds + 1), [], []
    record.close()  # rows are taken by hand, to be timed by themselves
    for _ in range(rounds):
        began = time.process_time()
        optimizer.zero_grad()
        model(x).square().mean().backward()
        between = time.process_time()
        record.take()
        rows.append(time.process_time() - between)
        optimizer.step()
        steps.append(time.process_time() - began - rows[-1])
    return statistics.median(steps), statistics.median(rows)


def row(*cells: object) -> None:
    """A line of a table."""
    shown = [
        "-" if isinstance(c, float) and math.isnan(c) else f"{c:.2f}" if isinstance(c, float) else c
        for c in cells
    ]
    print(f"{shown[0]!s:<32}", *(f"{c!s:>9}" for c in shown[1:]), flush=True)


TABLES = {
    "boundary": boundary_table, "agreement": agreement_table, "text": text_table, "recording": recording_table,
    "cost": cost_table,
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1:])

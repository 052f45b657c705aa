"""Verdicts that replay predicts, against training, theory and simulation; cost of replay.

`python -m benchmarks.replay [boundary | agreement | text | limits | recording | cost ...]`. Tables: the
boundary of the counterexample, against theory and simulation; predicted maps against trained dense
maps of 16 x 16 cells with one seed; the time and the batch size of recording; the cost of recording
and replaying.
"""

from __future__ import annotations

import inspect
import math
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import torch
from torch import nn

from benchmarks.agreement import agreement, best_constants, rule_verdicts
from benchmarks.known_results.counterexample import MONTE_CARLO
from benchmarks.stored_maps import dense_map
from betaplane.maps.phase_map import FAILING, GOOD, PhaseMap
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
SMALLER_LR = (("sparse", 32, 5), ("sparse", 4, 10), ("digits:model=logistic", 4, 10))
ROWS, COORDINATES = 512, 2000


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or ("boundary", "agreement", "recording", "cost"):
        start = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


# The boundary of the counterexample.

# Critical 1 - beta2 at a = 1 from simulated averages (3e6 steps, error about 2%).
SIMULATED = {
    **MONTE_CARLO,
    (50, 0.0, "shuffle"): 0.00162,
    (50, 0.9, "shuffle"): 0.00227,
    (50, 0.0, "replacement"): 0.00084,
}


def boundary_table() -> None:
    """Critical 1 - beta2 of the counterexample, a = 1, by replay, against the closed form or
    simulation.
    """
    row("order", "n", "beta1", "replay", "known", "off by")
    for n in (10, 20, 50):
        for beta1 in (0.0, 0.5, 0.9):
            predicted_q = 1 - turning_point(record_problem(counterexample(n=n), steps=2 * n), beta1)
            boundary_row("cyclic", n, beta1, predicted_q, 1 - critical_beta2(beta1, n))
    for (n, beta1, order), simulated in SIMULATED.items():
        boundary_row(order, n, beta1, 1 - turning_point(slopes(n, order), beta1), simulated)


def boundary_row(order: str, n: int, beta1: float, replayed: float, known: float) -> None:
    row(order, n, beta1, f"{replayed:.5f}", f"{known:.5f}", f"{replayed / known - 1:+.2%}")


def slopes(n: int, order: str, steps: int = 100_000, columns: int = 16) -> Gradients:
    """Gradients of the counterexample, each loss equally often, so that the mean is exact (see
    tests/replay).
    """
    rng, epochs = np.random.default_rng(0), steps // n
    gradients = np.full((epochs * n, columns), -1.0)
    for column in gradients.T:
        shuffled = np.arange(epochs) * n + rng.integers(0, n, epochs)
        if order == "shuffle":
            column[shuffled] = n
        else:
            column[rng.choice(len(column), epochs, replace=False)] = n
    return Gradients(torch.from_numpy(gradients), (Layer("x", (columns,), columns),))


# Predicted and trained maps.


def predicted_verdicts(gradients: Gradients, trained: PhaseMap) -> np.ndarray:
    return predicted(replay_gradients(gradients, trained.x.values, trained.y.values))


def agreement_table() -> None:
    """Predicted against trained maps: 512 gradients at step 100, with the batch size and the
    learning rate of training.

    Columns: balanced accuracy of "good" against the other verdicts; the same with trained cells
    scored against the best cell with the same beta1 ("per b1"); balanced accuracy of "failing", and
    without the cells at beta2 = 0 ("b2 > 0"); the distances of the boundaries of good and of
    failing, in decades of 1 - beta2, median over beta1. "rule" is beta1 < sqrt(beta2), "constant"
    the best constant beta2 below which all cells fail, chosen after training for each of its
    columns. A replay predicts failure; the columns of good show that it does not predict good.
    """
    head()
    for name in PROBLEMS:
        for size in SIZES:
            compare(load(name).with_(batch_size=size), name)
    compare(load("counterexample:n=10"), "counterexample:n=10")


def text_table() -> None:
    """The same for 200 steps of the text problem; it takes half an hour, mostly for training."""
    head()
    for size in TEXT_SIZES:
        compare(load("text:steps=200").with_(batch_size=size), "text:steps=200")


def limits_table() -> None:
    """The same for maps on which "good" is not predicted, with a part of their learning rate and
    2,000 steps; and for the valley at batch 128, from gradients at step 500.
    """
    head()
    for name, size, part in SMALLER_LR:
        problem = load(name).with_(batch_size=size, steps=2000)
        compare(problem.with_(lr=problem.lr / part), f"{name}:lr={problem.lr / part:g},steps=2000")
    valley = "valley:noise=1,steps=500"
    compare(load(valley).with_(batch_size=128), valley, after=500)


def head() -> None:
    columns = ("good", "per b1", "failing", "b2 > 0", "off good", "off fail")
    row(
        "problem",
        "batch",
        "good",
        "failing",
        "",
        *columns,
        "rule:",
        *columns[:4],
        "constant:",
        *columns[2:4],
    )


def compare(problem: Problem, name: str, after: int = 100) -> None:
    trained = dense_map(problem, name)
    shares = [f"{(trained.verdicts == verdict).mean():.0%}" for verdict in (GOOD, FAILING)]
    gradients = record_problem(problem, COORDINATES, ROWS, after=after)
    ours = agreement(predicted_verdicts(gradients, trained), trained)
    rule = agreement(rule_verdicts(trained), trained)
    constants = "", *best_constants(trained)
    row(name, problem.batch_size, *shares, "", *astuple(ours), "", *astuple(rule)[:4], *constants)


def recording_table() -> None:
    """Balanced accuracy of failing on 300 steps of the digits, by the time and the way of
    recording.

    At the start and at steps 100 and 300, the weights are fixed; "live" records the first 512
    steps. "From the other": batch 4 computed from gradients of batch 128, or batch 128 averaged
    from 2,048 gradients of batch 4.
    """
    row("problem", "batch", "at start", "at 100", "at 300", "live", "from the other")
    small, large = (load("digits:steps=300").with_(batch_size=size) for size in (4, 128))
    for problem, other, rows in ((small, large, ROWS), (large, small, 2048)):
        trained = dense_map(problem, "digits:steps=300")
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
            *(
                agreement(predicted_verdicts(gradients, trained), trained).failing
                for gradients in streams
            ),
        )


# Cost.


def cost_table() -> None:
    """Recording of 20,000 coordinates, relative to a training step; replay of 512 x 20,000
    gradients on 64 x 64 cells.

    Recording is measured in CPU time on one thread, so that other processes do not count. The step
    is that of an MLP with 2 million parameters and batch size 256, which is cheaper than the steps
    of most real runs.
    """
    step, recorded_row = step_and_row()
    share = f"{recorded_row / step:+.1%}"
    print(f"a step {1e3 * step:.2f} ms, a row {1e3 * recorded_row:.2f} ms: {share}")
    values = torch.randn(ROWS, 20_000, generator=torch.Generator().manual_seed(0)) + 0.1
    stream = Gradients(values, tuple(Layer(f"layer {i}", (400,), 200) for i in range(100)))
    start, cpu_start = time.perf_counter(), time.process_time()
    replay_gradients(stream)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    print(f"64 x 64 cells: {wall:.1f} s, {cpu:.1f} s of CPU, at most {memory:.2f} GB of memory")


def step_and_row(rounds: int = 9) -> tuple[float, float]:
    """CPU seconds of a training step and of recording a row before it; medians."""
    model = nn.Sequential(
        nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512)
    )
    optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(256, 512)
    record, steps, rows = record_gradients(model, steps=rounds + 1), [], []
    record.close()  # rows are recorded below, to time them separately
    for _ in range(rounds):
        start = time.process_time()
        optimizer.zero_grad()
        model(x).square().mean().backward()
        between = time.process_time()
        record.take()
        rows.append(time.process_time() - between)
        optimizer.step()
        steps.append(time.process_time() - start - rows[-1])
    return statistics.median(steps), statistics.median(rows)


def row(*cells: object) -> None:
    """Print a row of a table."""
    shown = [
        "-" if isinstance(c, float) and math.isnan(c) else f"{c:.2f}" if isinstance(c, float) else c
        for c in cells
    ]
    print(f"{shown[0]!s:<32}", *(f"{c!s:>9}" for c in shown[1:]), flush=True)


TABLES = {
    "boundary": boundary_table,
    "agreement": agreement_table,
    "text": text_table,
    "limits": limits_table,
    "recording": recording_table,
    "cost": cost_table,
}

if __name__ == "__main__":
    main(sys.argv[1:])

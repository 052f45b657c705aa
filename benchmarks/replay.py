"""Does replay predict what training finds? `python -m benchmarks.replay [agreement | recording | cost | text ...]`.

Each table holds predicted maps against trained ones, dense, 16 x 16, one seed; or what recording and replaying cost.
"""

from __future__ import annotations

import inspect
import math
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from betaplane.maps import map_phases
from betaplane.maps.phase_map import FAILING, GOOD, PhaseMap
from betaplane.problems import Problem, load
from betaplane.replay import (
    Gradients,
    Layer,
    predicted,
    record_gradients,
    record_problem,
    replay_gradients,
    with_batch_size,
)

PROBLEMS = ("digits:steps=500", "digits:model=logistic,steps=500", "sparse:steps=500", "valley:noise=1,steps=500")
SIZES = (4, 32, 128)
ROWS, COORDINATES = 512, 2000


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or ("agreement", "recording", "cost"):
        began = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - began:.0f} s)\n", flush=True)


# Predicted against trained.


@dataclass(frozen=True)
class Agreement:
    """How well one set of verdicts foretells another, over the cells of a plane."""

    equal: float  # share of cells with equal verdicts; nan for a rule that has only good and not good
    good: float  # balanced accuracy of good against the rest; nan where cells are all of one kind
    failing: float  # balanced accuracy of failing against the rest
    off: float  # median over beta1 of |decades of 1 - beta2| between the ends of failing


def agreement(found: np.ndarray, trained: PhaseMap) -> Agreement:
    truth, heights = trained.verdicts, trained.y.positions
    ends = [(edge(a, heights), edge(b, heights)) for a, b in zip(found != FAILING, truth != FAILING, strict=True)]
    apart = [abs(a - b) for a, b in ends if math.isfinite(a + b)]
    return Agreement(
        float((found == truth).mean()), balanced(found == GOOD, truth == GOOD),
        balanced(found == FAILING, truth == FAILING), float(np.median(apart)) if apart else math.nan,
    )  # fmt: skip


def balanced(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the shares found right among what is so and among what is not; nan where all cells are of one kind."""
    if truth.all() or not truth.any():
        return math.nan
    return float((found[truth].mean() + (~found[~truth]).mean()) / 2)


def edge(fine: np.ndarray, heights: np.ndarray) -> float:
    """Between which heights everything above is fine: their middle; nan where all is or the topmost is not."""
    if fine.all() or not fine[-1]:
        return math.nan
    below = int(np.flatnonzero(~fine)[-1])
    return float((heights[below] + heights[below + 1]) / 2)


def trained(problem: Problem) -> PhaseMap:
    return map_phases(problem, points=16, seeds=1, boundary_seeds=1, dense=True, workers=0)


def foretold(stream: Gradients, truth: PhaseMap) -> np.ndarray:
    return predicted(replay_gradients(stream, truth.x.values, truth.y.values))


def by_rule(truth: PhaseMap) -> np.ndarray:
    """What beta1 < sqrt(beta2) foretells: good where it holds, failing where it does not."""
    beta1, beta2 = (np.array(axis.values) for axis in (truth.x, truth.y))
    return np.where(beta1[:, None] <= np.sqrt(beta2), GOOD, FAILING)


def agreement_table() -> None:
    """Predicted against trained: 512 gradients at 100 steps, at the batch size that is trained with.

    The learning rate is the problem's own. Good and failing: balanced accuracy of that verdict against the others;
    off: decades of 1 - beta2 between where failing ends in each, median over beta1. "Rule" is beta1 < sqrt(beta2).
    """
    row("problem", "batch", "trained", "", "equal", "good", "failing", "off", "rule:", "good", "failing", "off")
    for name in PROBLEMS:
        for size in SIZES:
            compare(load(name).with_(batch_size=size), name)
    compare(load("counterexample:n=10"), "counterexample:n=10")


def text_table() -> None:
    """The same for the text problem at 200 steps, batch 16; ten minutes, most of it training."""
    compare(load("text:steps=200"), "text:steps=200")


def compare(problem: Problem, name: str) -> None:
    truth = trained(problem)
    shares = [f"{(truth.verdicts == kind).mean():.0%}" for kind in (GOOD, FAILING)]
    stream = record_problem(problem, COORDINATES, ROWS, after=100)
    ours, rule = (agreement(found, truth) for found in (foretold(stream, truth), by_rule(truth)))
    told = (ours.equal, ours.good, ours.failing, ours.off, "", rule.good, rule.failing, rule.off)
    row(name, problem.batch_size, f"{shares[0]} good", f"{shares[1]} fail", *told)


def recording_table() -> None:
    """When and how to record the digits: balanced accuracy of failing.

    Trained for 300 steps. At start, at 100 and 300 steps the weights stand still; live they move through the first 512.
    "From the other": batch 4 stretched from 128, or 128 averaged from 2,048 gradients of batch 4.
    """
    row("problem", "batch", "at start", "at 100", "at 300", "live", "from the other")
    small, large = (load("digits:steps=300").with_(batch_size=size) for size in (4, 128))
    for problem, other, rows in ((small, large, ROWS), (large, small, 2048)):
        truth = trained(problem)
        streams = [record_problem(problem, COORDINATES, ROWS, after=after) for after in (0, 100, 300)]
        streams.append(record_problem(problem, COORDINATES, ROWS, live=True))
        streams.append(with_batch_size(record_problem(other, COORDINATES, rows, after=100), problem.batch_size))
        row(problem.name, problem.batch_size, *(agreement(foretold(each, truth), truth).failing for each in streams))


# What it costs.


def cost_table() -> None:
    """Recording 20,000 coordinates beside a training step; the 64 x 64 replay of 512 x 20,000 gradients."""
    plain, recorded = overhead()
    print(f"a step {1e3 * plain:.2f} ms, recorded {1e3 * recorded:.2f} ms: {recorded / plain - 1:+.1%}")
    values = torch.randn(ROWS, 20_000, generator=torch.Generator().manual_seed(0)) + 0.1
    stream = Gradients(values, tuple(Layer(f"layer {i}", (400,), 200) for i in range(100)))
    began, used = time.perf_counter(), time.process_time()
    replay_gradients(stream)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"64 x 64 cells: {wall:.1f} s, {cpu:.1f} s of CPU, {most:.2f} GB at most in this process")


def overhead(rounds: int = 7, steps: int = 8) -> tuple[float, float]:
    """Seconds a step of an MLP of 2 million parameters at batch 256, without and with a recorder; medians of pairs."""
    model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512))
    optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(256, 512)
    pairs = []
    for _ in range(rounds):
        pair = []
        for recording in (False, True):
            record = record_gradients(model, steps=steps) if recording else None
            began = time.perf_counter()
            for _ in range(steps):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
            pair.append((time.perf_counter() - began) / steps)
            if record is not None:
                record.close()
        pairs.append(pair)
    plain, recorded = np.median(pairs, axis=0)
    return float(plain), float(recorded)


def row(*cells: object) -> None:
    """A line of a table."""
    shown = [
        "-" if isinstance(c, float) and math.isnan(c) else f"{c:.2f}" if isinstance(c, float) else c for c in cells
    ]
    print(f"{shown[0]!s:<32}", *(f"{c!s:>9}" for c in shown[1:]), flush=True)


TABLES = {"agreement": agreement_table, "recording": recording_table, "cost": cost_table, "text": text_table}

if __name__ == "__main__":
    main(sys.argv[1:])

"""Long runs of problems with one unknown: generated C against the stack in torch and plain Python.

`python -m benchmarks.scalar`. Run-steps per second of one thread, for 4 runs of Adam with different
beta2. The three alternate round by round, so that other load on the machine affects all of them; a
figure is the median of the rounds. Then the time of one run of 10 million steps.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

from betaplane.problems import Problem, counterexample, power
from betaplane.replicas import Options, Run
from betaplane.replicas.objective import isolated
from betaplane.replicas.scalar import new_training
from betaplane.replicas.stacked import Training
from betaplane.rules import Adam

ROUNDS = 5
BETA2S = (0.95, 0.97, 0.98, 0.99)
OPTIONS = Options(points=20, early_stop=False)
PROBLEMS = {
    "counterexample": counterexample(dtype=torch.float64),
    "power": power(),
}
Slope = Callable[[int, float], float]
SLOPES: dict[str, Slope] = {
    "counterexample": lambda i, x: (10.0 if i % 10 == 0 else -1.0) * min(x + 2, 1.0),
    "power": lambda i, x: x * abs(x) ** 2,
}


def engine(make: Callable[..., Training], problem: Problem, beta2s: tuple[float, ...]) -> None:
    """Train to the end with a kind of training."""
    runs = [Run(Adam(beta2=beta2), problem.lr, problem.batch_size, 0) for beta2 in beta2s]
    with isolated(problem):
        make(problem, runs, OPTIONS).outcomes()


def plain_python(slope: Slope, problem: Problem, beta2s: tuple[float, ...]) -> None:
    """The same runs in floats of Python, without recording a curve."""
    root = problem.schedule == "inverse_sqrt"
    for beta2 in beta2s:
        x, m, v, beta1 = 1.0, 0.0, 0.0, 0.9
        for t in range(1, problem.steps + 1):
            g = slope(t - 1, x)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            lr = problem.lr / math.sqrt(t) if root else problem.lr
            x -= lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + 1e-8)


def compare(name: str) -> None:
    """Print the speeds of the three, in alternating rounds."""
    ways = {
        "generated C": (200_000, lambda p: engine(new_training, p, BETA2S)),
        "stack in torch": (1_000, lambda p: engine(Training, p, BETA2S)),
        "plain Python": (20_000, lambda p: plain_python(SLOPES[name], p, BETA2S)),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, (steps, train) in ways.items():
            start = time.perf_counter()
            train(PROBLEMS[name].with_(steps=steps))
            rates[way].append(len(BETA2S) * steps / (time.perf_counter() - start))
    print(f"{name}, run-steps per second, median of {ROUNDS} rounds")
    for way, found in rates.items():
        times = statistics.median(c / w for c, w in zip(rates["generated C"], found, strict=True))
        print(f"  {way:<16}{statistics.median(found):>14,.0f}   C is {times:,.1f} x as fast")


def main() -> None:
    """Print the speeds, and the time of a long run."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in PROBLEMS:
        compare(name)
    start = time.perf_counter()
    engine(new_training, PROBLEMS["counterexample"].with_(steps=10_000_000), BETA2S[:1])
    print(f"10,000,000 steps of the counterexample: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()

"""Does training show what is known? `python -m benchmarks.truth [counterexample | order | reddi |
batch ...]`.

Each table has what training found beside the closed form or the published figure.
"""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from betaplane.maps.phase_map import FAILING, GOOD, Thresholds
from betaplane.maps.verdicts import score, verdict
from betaplane.problems import Problem, counterexample, digits, reddi
from betaplane.problems.problem import Order
from betaplane.replicas import Options, Outcome, Run, train_stacked
from betaplane.replicas.run import windows
from betaplane.rules import Adam, AMSGrad
from betaplane.theory import critical_beta2, critical_with_replacement

Pairs = Sequence[tuple[float, float]]  # (beta1, 1 - beta2)
Away = Callable[[Pairs], np.ndarray]  # > 0 where Adam leaves for infinity


# The counterexample (Zhang et al. 2022): where Adam leaves for infinity.


def far(n: int, order: Order = "cyclic", steps: int = 10_000) -> Problem:
    """The counterexample from where nothing arrives at the minimum, with equal steps: only the far
    field decides.

    In 64 bits, since at x = 1000 steps of this size round to whole ulps of 32.
    """
    return counterexample(
        n, order=order, x0=1e3, steps=steps, lr=0.01, schedule="constant", dtype=torch.float64
    )


def speed(problem: Problem, pairs: Pairs, seeds: int = 1) -> np.ndarray:
    """How fast x leaves, a step, over lr, (pairs, seeds): the mean of the second half of the steps."""
    runs = [adam(problem, *pair, seed) for pair in pairs for seed in range(seeds)]
    independent = problem.order != "cyclic"
    found = train_stacked(problem, runs, Options(early_stop=False, independent=independent))
    half = problem.steps / 2 * problem.lr * float(problem.inputs.mean())
    return (
        np.array([o.curve[-1] - o.curve[49] for o in found], dtype=float).reshape(len(pairs), seeds)
        / half
    )


def adam(problem: Problem, beta1: float, q: float, seed: int = 0) -> Run:
    return Run(Adam(beta1=beta1, beta2=1 - q), problem.lr, problem.batch_size, seed)


def failing(problem: Problem, pairs: Pairs) -> np.ndarray:
    """1 where a map would call it failing, else -1."""
    found = train_stacked(problem, [adam(problem, *pair) for pair in pairs])
    scores = [score(outcome.final, outcome.initial, least(problem)) for outcome in found]
    return np.array([1.0 if verdict(s, Thresholds()) == FAILING else -1.0 for s in scores])


def least(problem: Problem) -> float:
    """The smallest loss there is, which these problems know."""
    return cast(float, problem.best)


def edges(away: Away, beta1s: Sequence[float], lowest: float = 3e-4) -> list[float]:
    """The smallest 1 - beta2 that leaves, for each beta1; nan where none does, 0 where the lowest
    does.

    A grid over (lowest, 1), then a finer one between its last that stays and its first that leaves.
    """
    grids = {beta1: np.geomspace(lowest, 1.0, 24) for beta1 in beta1s}
    found = dict.fromkeys(beta1s, math.nan)
    for _ in range(2):
        values = iter(away([(beta1, float(q)) for beta1, grid in grids.items() for q in grid]))
        for beta1, grid in list(grids.items()):
            here = np.array([next(values) for _ in grid])
            first = int((here > 0).argmax())
            if first == 0:  # all, or none, leave
                found[beta1] = 0.0 if here[0] > 0 else math.nan
                del grids[beta1]
                continue
            (low, high), q = here[first - 1 : first + 1], np.log(grid[first - 1 : first + 1])
            found[beta1] = math.exp(q[0] - low * (q[1] - q[0]) / (high - low))
            grids[beta1] = np.exp(np.linspace(q[0], q[1], 12))
    return [found[beta1] for beta1 in beta1s]


def random_edge(n: int, beta1: float, order: Order) -> float:
    """The 1 - beta2 at which the mean speed changes sign when losses come in random order.

    The root of a parabola in log(1 - beta2) through the means over seeds; nan where it has not one in the window.
    """
    around = (
        1 - critical_beta2(beta1, n) if order == "shuffle" else critical_with_replacement(beta1, n)
    )
    grid = around * np.geomspace(0.4, 2.0, 8)
    seeds = 32 if order == "shuffle" else 128  # independent draws are the noisier
    away = speed(far(n, order, steps=20_000), [(beta1, float(q)) for q in grid], seeds).mean(axis=1)
    curve = np.polynomial.Polynomial.fit(np.log(grid), away, 2)
    inside = [
        math.exp(r.real)
        for r in curve.roots()
        if abs(r.imag) < 1e-9 and grid[0] < math.exp(r.real) < grid[-1]
    ]
    return inside[0] if len(inside) == 1 else math.nan


# Critical 1 - beta2 at a = 1 from simulated averages (3e6 steps, about 2 percent).
MONTE_CARLO: dict[tuple[int, float, Order], float] = {
    (10, 0.0, "shuffle"): 0.0419, (10, 0.9, "shuffle"): 0.135, (20, 0.0, "shuffle"): 0.0103,
    (20, 0.9, "shuffle"): 0.0210, (10, 0.0, "replacement"): 0.0223, (10, 0.9, "replacement"): 0.0270,
    (20, 0.0, "replacement"): 0.00526, (20, 0.9, "replacement"): 0.00554,
}  # fmt: skip


def counterexample_table() -> None:
    """Critical 1 - beta2, cyclic order: by the direction of travel, and by a map's verdict with the
    defaults.

    Verdicts are of 20,000 steps from x0 = 1: the slower the drift (large n), the more of what would come home has not
    yet; and near the minimum, where beta1 > sqrt(beta2), Adam can be thrown out though nothing leaves from afar.
    """
    row("n", "beta1", "closed form", "by travel", "off by", "by verdict", "off by")
    beta1s = (0.0, 0.5, 0.9)
    for n in (5, 10, 20, 50):
        right, near = far(n), counterexample(n)
        travel = edges(lambda pairs, p=right: speed(p, pairs)[:, 0], beta1s)
        judged = (
            edges(lambda pairs, p=near: failing(p, pairs), beta1s) if n < 50 else [math.nan] * 3
        )
        for beta1, found, seen in zip(beta1s, travel, judged, strict=True):
            exact = 1 - critical_beta2(beta1, n)
            row(n, beta1, exact, found, off(found, exact, ".2%"), seen, off(seen, exact))


def order_table() -> None:
    """Critical 1 - beta2, the losses in random order, 32 (shuffle) or 128 seeds of 20,000 steps a
    point.
    """
    row("n", "beta1", "order", "by travel", "simulated", "off by", "1st order", "cyclic")
    for (n, beta1, order), known in MONTE_CARLO.items():
        found = random_edge(n, beta1, order)
        first = critical_with_replacement(beta1, n) if order == "replacement" else math.nan
        row(n, beta1, order, found, known, off(found, known), first, 1 - critical_beta2(beta1, n))


# Reddi et al. 2018: Adam at the worst end x = 1, AMSGrad at the best one x = -1.


def ends(problem: Problem, runs: Sequence[Run]) -> list[float]:
    """x after the last step; the loss on all the data is the mean slope times x."""
    slope = float(problem.inputs.double().mean())
    return [float(outcome.curve[-1]) / slope for outcome in train(problem, runs)]


def regrets(problem: Problem, runs: Sequence[Run]) -> list[float]:
    """R_T / T against x = -1: the mean of all the losses met, less the best there is."""
    lengths = windows(problem.steps, Options().points)
    found = train(problem.with_(record="minibatch"), runs)
    return [float(np.average(o.curve, weights=lengths)) - least(problem) for o in found]


def train(problem: Problem, runs: Sequence[Run]) -> list[Outcome]:
    return train_stacked(problem, runs, Options(early_stop=False))


def figure1(steps: int) -> Problem:
    """Reddi et al.'s Figure 1: 1010 x once in 101 steps, else -10 x. The paper gives no step size;
    .5 / sqrt(t).
    """
    return reddi(C=101, period=101, scale=10, lr=0.5, steps=steps)


def paper(rule: type[Adam] | type[AMSGrad], problem: Problem, beta1: float, beta2: float) -> Run:
    """A run as in the paper: its AMSGrad has no bias correction (for Adam it makes no difference
    here).
    """
    betas = {"beta1": beta1, "beta2": beta2, "eps": 0.0}
    return Run(
        AMSGrad(**betas, debias="none") if rule is AMSGrad else Adam(**betas), problem.lr, 1, 0
    )


def theorem1(C: float, steps: int) -> tuple[Problem, float]:
    """Theorem 1's example, C x once in 3 steps, else -x, at beta1 = 0, and its beta2."""
    beta2 = 1 / (1 + C**2)
    return reddi(C=C, period=3, lr=0.9 * math.sqrt(1 - beta2), steps=steps), beta2


def by_hand(
    problem: Problem, rule: type, beta1: float, beta2: float, corrected: bool = True
) -> tuple[float, float]:
    """x_T and R_T / T of the paper's algorithms in plain floats; Adam with or without bias
    correction.
    """
    s, x, m, v, v_max, met = problem.inputs.tolist(), 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(1, problem.steps + 1):
        g = s[(t - 1) % len(s)]
        met += g * x
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        v_max = max(v_max, v)
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if corrected else (m, v)
        x -= problem.lr / math.sqrt(t) * m_hat / math.sqrt(v_max if rule is AMSGrad else v_hat)
        x = min(1.0, max(-1.0, x))
    return x, met / problem.steps - least(problem)


TABLE_C = (2.5, 3, 5, 10, 15, 100)


def reddi_table() -> None:
    """Where x ends and regret R_T / T; Adam stuck at +1 has R_T / T -> 2 (C - 2) / 3 (Theorem 1),
    .198 (Figure 1).

    "By hand" is the algorithm in plain floats, 64 bits.
    """
    row(
        "example",
        "T",
        "Adam x",
        "by hand",
        "R/T",
        "by hand",
        "tends to",
        "AMSGrad x",
        "by hand",
        "beta2 large",
    )
    for C in TABLE_C:
        problem, beta2 = theorem1(C, steps=2499)
        reddi_row(f"C = {C:g}", problem, 0.0, beta2, (0.9, 0.999), 2 * (C - 2) / 3)
    reddi_row("Figure 1", figure1(steps=500 * 101), 0.9, 0.99, (0.9, 0.9999), 20 / 101)


def reddi_row(
    label: str,
    problem: Problem,
    beta1: float,
    beta2: float,
    large: tuple[float, float],
    limit: float,
):
    runs = [paper(Adam, problem, beta1, beta2), paper(Adam, problem, *large)]
    (stuck, free), (regret, _) = ends(problem, runs), regrets(problem, runs)
    (kept,) = ends(problem, [paper(AMSGrad, problem, beta1, beta2)])
    x, met = by_hand(problem, Adam, beta1, beta2)
    other, _ = by_hand(problem, AMSGrad, beta1, beta2, corrected=False)
    row(label, problem.steps, stuck, x, regret, met, limit, kept, other, free)


# Digits: the smaller the batch, the larger the smallest good beta2 (Zhang et al. 2022, MNIST, beta1
# = 0.9).

BATCHES = (4, 8, 16, 32, 64, 128, 256)
BETA2S = (*(1 - 2 ** (-k / 2) for k in range(12)), 0.99, 0.999)


@dataclass(frozen=True)
class MultiTensorStep:
    """Final losses of Adam at beta1 = 0.9 on the digits."""

    losses: np.ndarray  # (batches, learning rates, beta2s), median over seeds
    initial: float

    def smallest_good(
        self, losses: np.ndarray, limit: float = Thresholds().good, common: bool = False
    ) -> list[float]:
        """The smallest good beta2 for each batch size, from losses (batches, beta2s); nan where
        none is good.

        Good is relative to the best loss at that batch size, since small batches leave a noise that no beta2 takes
        away; or to the best of all batch sizes, where it is `common`.
        """
        found = []
        for here in losses:
            best = float(losses.min() if common else here.min())
            scores = [score(float(loss), self.initial, best) for loss in here]
            good = [verdict(s, Thresholds(limit)) == GOOD for s in scores]
            found.append(
                min((b for b, ok in zip(BETA2S, good, strict=True) if ok), default=math.nan)
            )
        return found


def sweep(
    rates: Callable[[int], Iterable[float]],
    steps: Callable[[int], int] = lambda _: 1000,
    seeds: int = 3,
    batches: Sequence[int] = BATCHES,
) -> MultiTensorStep:
    """Train every beta2 with the learning rates and the steps that a batch size gets."""
    losses, initial = [], []
    for batch in batches:
        problem = digits(batch_size=batch, steps=steps(batch))
        lrs = tuple(rates(batch))
        found = []
        for seed in range(seeds):
            progress(f"batch {batch}, {problem.steps} steps, seed {seed + 1} of {seeds}")
            runs = [
                Run(Adam(beta1=0.9, beta2=beta2), lr, batch, seed) for lr in lrs for beta2 in BETA2S
            ]
            outcomes = train_stacked(problem, runs)
            found.append([o.final for o in outcomes])
            initial.append(outcomes[0].initial)
        losses.append(np.median(found, axis=0).reshape(len(lrs), len(BETA2S)))
    return MultiTensorStep(np.array(losses), float(np.median(initial)))


def falls(found: Sequence[float]) -> bool:
    """Whether it never rises with the batch size."""
    return bool((np.diff(found) <= 0).all())


def batch_table() -> None:
    """The smallest good beta2 at beta1 = 0.9, for batch sizes 4 to 256, 3 seeds, by protocol."""
    row("digits at beta1 = 0.9", *BATCHES, "", wide=True)
    fixed = (0.0025, 0.01)
    equal_steps = sweep(lambda batch: (*fixed, 0.01 * math.sqrt(batch / 64)))
    by_rate = equal_steps.losses.transpose(1, 0, 2)

    def show(label: str, sweep: MultiTensorStep, losses: np.ndarray, **how) -> None:
        found = sweep.smallest_good(losses, **how)
        row(label, *found, "never rises" if falls(found) else "rises somewhere", wide=True)

    for lr, losses in zip(fixed, by_rate, strict=False):
        show(f"lr {lr:g}, 1000 steps", equal_steps, losses)
    show("best of these lrs a cell", equal_steps, by_rate.min(axis=0))
    show("lr 0.01, 1000 steps, within 2 %", equal_steps, by_rate[1], limit=0.02)
    show("lr 0.01, 1000 steps, best of all", equal_steps, by_rate[1], common=True)
    show("lr ~ sqrt(batch), 1000 steps", equal_steps, by_rate[2])
    equal_examples = sweep(lambda _: (0.01,), steps=lambda batch: 20 * 1797 // batch, seeds=2)
    show("lr 0.01, 20 epochs, 2 seeds", equal_examples, equal_examples.losses[:, 0])


def off(found: float, exact: float, form: str = ".0%") -> str:
    return "-" if math.isnan(found / exact) else f"{found / exact - 1:+{form}}"


def row(*cells: object, wide: bool = False) -> None:
    """A line of a table; numbers to four digits."""
    shown = [
        "-" if isinstance(c, float) and math.isnan(c) else f"{c:.4g}" if isinstance(c, float) else c
        for c in cells
    ]
    width = 8 if wide else 12
    print(
        f"\r{shown[0]!s:<34}" if wide else f"\r{shown[0]!s:<12}",
        *(f"{c!s:>{width}}" for c in shown[1:]),
        flush=True,
    )


def progress(text: str) -> None:
    """A line that the next one overwrites, for people."""
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)


TABLES = {
    "counterexample": counterexample_table,
    "order": order_table,
    "reddi": reddi_table,
    "batch": batch_table,
}


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or TABLES:
        began = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - began:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

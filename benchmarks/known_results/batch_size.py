"""The smallest good beta2 at beta1 = 0.9 by batch size, on the digits (Zhang et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.known_results.table import progress, row
from betaplane.maps.phase_map import GOOD, Thresholds
from betaplane.maps.verdicts import score, verdict
from betaplane.problems import digits
from betaplane.replicas import Run, train_stacked
from betaplane.rules import Adam

BATCHES = (4, 8, 16, 32, 64, 128, 256)
BETA2S = (*(1 - 2 ** (-k / 2) for k in range(12)), 0.99, 0.999)


@dataclass(frozen=True)
class Sweep:
    """Final losses of Adam at beta1 = 0.9 on the digits."""

    losses: np.ndarray  # (batches, learning rates, beta2s), median over seeds
    initial: float

    def smallest_good(
        self, losses: np.ndarray, limit: float = Thresholds().good, common: bool = False
    ) -> list[float]:
        """The smallest good beta2 per batch size, from losses (batches, beta2s); nan if none is
        good.

        Good is relative to the best loss at that batch size, since no beta2 removes the gradient
        noise of small batches; if `common`, to the best loss of all batch sizes.
        """
        smallest = []
        for batch_losses in losses:
            best = float(losses.min() if common else batch_losses.min())
            scores = [score(float(loss), self.initial, best) for loss in batch_losses]
            good = [verdict(s, Thresholds(limit)) == GOOD for s in scores]
            smallest.append(
                min((b for b, ok in zip(BETA2S, good, strict=True) if ok), default=math.nan)
            )
        return smallest


def sweep(
    rates: Callable[[int], Iterable[float]],
    steps: Callable[[int], int] = lambda _: 1000,
    seeds: int = 3,
    batches: Sequence[int] = BATCHES,
) -> Sweep:
    """Train every beta2 with the learning rates and the steps of each batch size."""
    losses, initial = [], []
    for batch in batches:
        problem = digits(batch_size=batch, steps=steps(batch))
        lrs = tuple(rates(batch))
        finals = []
        for seed in range(seeds):
            progress(f"batch {batch}, {problem.steps} steps, seed {seed + 1} of {seeds}")
            runs = [
                Run(Adam(beta1=0.9, beta2=beta2), lr, batch, seed) for lr in lrs for beta2 in BETA2S
            ]
            outcomes = train_stacked(problem, runs)
            finals.append([o.final for o in outcomes])
            initial.append(outcomes[0].initial)
        losses.append(np.median(finals, axis=0).reshape(len(lrs), len(BETA2S)))
    return Sweep(np.array(losses), float(np.median(initial)))


def never_rises(beta2s: Sequence[float]) -> bool:
    """Whether the smallest good beta2 does not rise with the batch size."""
    return bool((np.diff(beta2s) <= 0).all())


def batch_size_table() -> None:
    """The smallest good beta2 at beta1 = 0.9, for batch sizes 4 to 256, 3 seeds, by protocol."""
    row("digits at beta1 = 0.9", *BATCHES, "", wide=True)
    fixed = (0.0025, 0.01)
    equal_steps = sweep(lambda batch: (*fixed, 0.01 * math.sqrt(batch / 64)))
    by_rate = equal_steps.losses.transpose(1, 0, 2)

    def show(label: str, sweep: Sweep, losses: np.ndarray, **how) -> None:
        beta2s = sweep.smallest_good(losses, **how)
        row(label, *beta2s, "never rises" if never_rises(beta2s) else "rises", wide=True)

    for lr, losses in zip(fixed, by_rate, strict=False):
        show(f"lr {lr:g}, 1000 steps", equal_steps, losses)
    show("best of these lrs per cell", equal_steps, by_rate.min(axis=0))
    show("lr 0.01, 1000 steps, within 2%", equal_steps, by_rate[1], limit=0.02)
    show("lr 0.01, 1000 steps, best of all", equal_steps, by_rate[1], common=True)
    show("lr ~ sqrt(batch), 1000 steps", equal_steps, by_rate[2])
    equal_examples = sweep(lambda _: (0.01,), steps=lambda batch: 20 * 1797 // batch, seeds=2)
    show("lr 0.01, 20 epochs, 2 seeds", equal_examples, equal_examples.losses[:, 0])

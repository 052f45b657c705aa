"""Alerts of `betaplane.watch` in runs with recommended settings.

`python -m benchmarks.watch_recommended [synthetic | maps] [PROBLEM ...]`. A recommended setting that
converges must raise no alert: each line printed below a table is one that does.

synthetic: the recommendations of 100 random maps of scores, trained on built-in problems (about ten
minutes). maps: the recommendations of trained maps of 8 x 8 cells, with the learning rate searched,
on built-in problems and on those of `benchmarks/recommend_problems` that a plain loop can train, or
on references as file.py:name (about an hour).

Each setting is trained with torch's Adam and three seeds that no map used, watched twice: with the
defaults of `watch`, and with every step read. A run counts as converged if its score is good: the
mean loss of its last tenth is within 5% of the way from the lowest known loss to the loss before
training.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch

import betaplane
from benchmarks.plain_loop import final_loss, train_losses
from benchmarks.recommend import own_problems
from benchmarks.stored_maps import small_map
from benchmarks.synthetic_maps import random_scores
from betaplane.maps.phase_map import GOOD, Thresholds
from betaplane.maps.recommend import recommend
from betaplane.maps.verdicts import score, verdict
from betaplane.monitor import Watcher
from betaplane.problems import Problem, load

MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "every step": {"every": 1, "budget": math.inf},
}
SEEDS = range(4000, 4003)
SYNTHETIC_MAPS, SYNTHETIC_STEPS = 100, 300
BUILT_IN = ("digits", "digits:model=logistic", "sparse", "valley", "text")

Setting = Mapping[str, float]


@dataclass
class Counts:
    """Runs by whether they converged, and those of them with an alert."""

    converged: int = 0
    others: int = 0
    alerts: int = 0  # runs that converged, with an alert
    other_alerts: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, converged: bool, causes: list[str], text: str) -> None:
        """Count a run; its line is kept if it converged with an alert."""
        if not converged:
            self.others += 1
            self.other_alerts += bool(causes)
            return
        self.converged += 1
        self.alerts += bool(causes)
        if causes:
            self.lines.append(f"  {text}: {'; '.join(causes)}")

    def row(self, name: str) -> str:
        """The counts as a row."""
        return (
            f"{name:<32}{self.alerts:>7} of {self.converged:<5}{self.other_alerts:>7} of "
            f"{self.others:<5}"
        )


def main(arguments: list[str]) -> None:
    """Print a row per problem and the alerts."""
    torch.set_num_threads(1)
    tables = [name for name in TABLES if name in arguments]
    sources = [argument for argument in arguments if argument not in TABLES]
    for name in tables or (["maps"] if sources else TABLES):
        start = time.perf_counter()
        print(f"{name + ': alerts in runs':<32}{'that converge':>15}{'that do not':>15}")
        totals = {mode: Counts() for mode in MODES}
        TABLES[name](sources, totals)
        for mode, counts in totals.items():
            print(counts.row(f"all, {mode}"))
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


def watch_maps(sources: list[str], totals: Mapping[str, Counts]) -> None:
    """The recommendations of trained maps."""
    for source in sources or [*BUILT_IN, *own_problems()]:
        problem = load(source)
        if not is_plain(problem):
            print(f"{problem.name:<32} needs another loop", flush=True)
            continue
        phase_map = small_map(source)
        found = phase_map.recommendation
        if found is None:
            print(f"{problem.name:<32} no recommendation", flush=True)
            continue
        scale = phase_map.initial, phase_map.best
        by_mode = {mode: Counts() for mode in MODES}
        for seed in SEEDS:
            watch_run(problem, found.settings, seed, scale, (by_mode, totals))
        print_counts(problem.name, by_mode)


def watch_synthetic(sources: list[str], totals: Mapping[str, Counts]) -> None:
    """The recommendations of random maps of scores, on built-in problems."""
    del sources
    names = BUILT_IN[:4]
    by_problem = {name: {mode: Counts() for mode in MODES} for name in names}
    for number, betas in enumerate(synthetic_recommendations()):
        name = names[number % len(names)]
        problem = load(name)
        assert isinstance(problem, Problem)
        problem = problem.with_(steps=SYNTHETIC_STEPS, record="minibatch")
        setting = {"lr": problem.lr, **betas}
        default = train_losses(problem, {"lr": problem.lr}, SEEDS[0])
        scale = default[0], final_loss(default)
        watch_run(problem, setting, SEEDS[0], scale, (by_problem[name], totals))
    for name, counts in by_problem.items():
        print_counts(name, counts)


def synthetic_recommendations() -> Iterator[Setting]:
    """The betas that random maps of scores recommend."""
    for seed in range(SYNTHETIC_MAPS):
        found = recommend(*random_scores(seed))
        if found is not None:
            yield found.settings


def is_plain(problem: object) -> TypeGuard[Problem]:
    """Whether a plain loop can train a problem."""
    usual = ("shuffle", "constant", "minibatch")
    return (
        isinstance(problem, Problem)
        and problem.data is None
        and (problem.order, problem.schedule, problem.record) == usual
    )


def watch_run(
    problem: Problem,
    setting: Setting,
    seed: int,
    scale: tuple[float, float],
    groups: tuple[Mapping[str, Counts], ...],
) -> None:
    """Train a setting watched in each mode, and count the runs.

    Args:
        problem: what is trained.
        setting: lr, beta1, beta2.
        seed: of the run.
        scale: the loss before training and the lowest known one.
        groups: counts by mode.
    """
    text = (
        f"{problem.name}, lr {setting['lr']:.3g}, ({setting['beta1']:.4g}, {setting['beta2']:.5g})"
    )
    for mode, how in MODES.items():
        losses, watcher = watched(problem, setting, seed, how)
        causes = [f"{alert.cause} at step {alert.step}" for alert in watcher.alerts]
        is_good = verdict(score(final_loss(losses), *scale), Thresholds()) == GOOD
        for counts in groups:
            counts[mode].add(is_good, causes, f"{text}, seed {seed}, {mode}")


def watched(
    problem: Problem, setting: Setting, seed: int, how: Mapping[str, Any]
) -> tuple[list[float], Watcher]:
    """The losses of a watched run, and its watcher, closed."""
    watchers: list[Watcher] = []

    def start(optimizer: torch.optim.Optimizer, module: torch.nn.Module) -> Callable[[float], None]:
        watchers.append(betaplane.watch(optimizer, console=False, **how))
        del module
        return watchers[0].loss

    losses = train_losses(problem, setting, seed, start)
    watchers[0].close()
    return losses, watchers[0]


def print_counts(name: str, by_mode: Mapping[str, Counts]) -> None:
    """A row per mode, and the lines of the alerts."""
    for mode, counts in by_mode.items():
        print(counts.row(f"{name}, {mode}"), flush=True)
        for line in counts.lines:
            print(line, flush=True)


TABLES = {"synthetic": watch_synthetic, "maps": watch_maps}

if __name__ == "__main__":
    main(sys.argv[1:])

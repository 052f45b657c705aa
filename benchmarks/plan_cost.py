"""Compare what `betaplane map --plan` estimates with what the maps then take.

python -m benchmarks.plan_cost [wall] [NAME ...]

For eleven small maps: expected and trained runs, expected and measured seconds, and their ratios.
Both are CPU seconds of this process, which trains; those of a command are wall-clock seconds. With
`wall`, all are wall-clock seconds with one worker process. Then the machine should be idle: a load
that changes between the estimate and the map counts as error.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import LOSS, SCRIPT
from betaplane.maps import Progress, map_cost, plan_for, run_plan
from betaplane.maps import cost as cost_module
from betaplane.problems import Command, Problem, Trainer
from betaplane.problems.source import as_problem
from betaplane.replicas import timing

BAR = 1.5  # largest factor between an estimate and the truth
USER_FILE = """
import math
import torch
from betaplane import Problem

torch.manual_seed(0)
x = torch.randn(512, 20)
y = (x[:, 0] > 0).long()

def net():
    return torch.nn.Sequential(torch.nn.Linear(20, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))

problem = Problem(
    "mine", net, torch.nn.functional.cross_entropy, x, y, batch_size=16, steps=300, lr=0.02
)

def train(settings, seed):
    torch.manual_seed(seed)
    model = net()
    betas = settings["beta1"], settings["beta2"]
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], betas=betas)
    losses = []
    for step in range(100):
        batch = torch.randint(len(x), (16,))
        loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
"""


class Case(NamedTuple):
    """A small map."""

    source: str | Command
    points: int
    how: dict[str, Any]


def cases(folder: Path) -> dict[str, Case]:
    """The maps, by name."""
    (folder / "mine.py").write_text(USER_FILE)
    settings = "--beta1 {beta1} --beta2 {beta2} --seed {seed}"
    command = Command(f"{sys.executable} {SCRIPT} {settings}", LOSS)
    quick = {"steps": 200}
    return {
        "counterexample": Case("counterexample", 12, {}),
        "quadratic": Case("quadratic", 12, {}),
        "digits": Case("digits", 10, quick),
        "digits, dense": Case("digits", 10, {**quick, "dense": True, "search_lr": False}),
        "sparse": Case("sparse", 8, quick),
        "valley": Case("valley", 10, {}),
        "power": Case("power", 8, {}),
        "batch sizes": Case("digits", 6, {**quick, "x": ("batch_size", 4, 64)}),
        "user's file": Case(f"{folder}/mine.py:problem", 12, {}),
        "user's function": Case(f"{folder}/mine.py:train", 8, {}),
        "command": Case(command, 5, {"seeds": 1, "boundary_seeds": 1, "search_lr": False}),
    }


class CpuClock:
    """CPU seconds of this process, in place of the module `time`."""

    perf_counter = staticmethod(time.process_time)


def measured(case: Case, is_wall: bool) -> tuple[int, float, int, float]:
    """Expected runs and seconds, then those of the map."""
    is_wall = is_wall or isinstance(case.source, Command)
    clock: Any = time if is_wall else CpuClock
    cost_module.time = timing.time = clock
    problem: Problem | Trainer = as_problem(case.source)
    plan = plan_for(problem, points=case.points, **case.how)
    workers = 1 if is_wall else 0
    cost = map_cost(problem, plan, workers=workers)
    done: list[Progress] = []
    keep: Callable[[Progress], None] = done.append
    began = clock.perf_counter()
    run_plan(problem, plan, workers=workers, watch=keep)
    return cost.runs, cost.seconds_here, done[-1].done, clock.perf_counter() - began


def main(arguments: list[str]) -> None:
    is_wall, names = "wall" in arguments, [name for name in arguments if name != "wall"]
    print(f"{'map':18} {'runs: expected':>14} {'trained':>8} {'ratio':>6}", end="")
    print(f" {'seconds: expected':>18} {'taken':>7} {'ratio':>6}")
    within = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = {n: c for n, c in cases(Path(folder)).items() if not names or n in names}
        for name, case in chosen.items():
            runs, seconds, trained, taken = measured(case, is_wall)
            ratios = runs / trained, seconds / taken
            within.append([1 / BAR <= ratio <= BAR for ratio in ratios])
            print(f"{name:18} {runs:14} {trained:8} {ratios[0]:6.2f}", end="")
            print(f" {seconds:18.1f} {taken:7.1f} {ratios[1]:6.2f}", flush=True)
    of_runs, of_seconds = (sum(column) for column in zip(*within, strict=True))
    print(f"within a factor {BAR}: runs {of_runs}, seconds {of_seconds}, of {len(within)} maps")


if __name__ == "__main__":
    main(sys.argv[1:])

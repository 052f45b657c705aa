"""What a worker does: train runs with one of the engines, or measure which engine is faster."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer
from betaplane.problems.check import tried
from betaplane.replicas.plain import plain_rate, train_plain
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.stacked import stacked_rate, train_stacked
from betaplane.replicas.unfinished import Keeper

ENGINES = ("stacked", "plain", "callable")


def train(
    problem: Problem | Trainer, runs: Sequence[Run], engine: str, options: Options, keeper: Keeper | None = None
) -> list[Outcome]:
    """Train the runs with an engine; leaves torch's global generator as it was."""
    if isinstance(problem, Trainer):
        return [train_callable(problem, run) for run in runs]
    with torch.random.fork_rng(devices=[]):
        if engine == "stacked":
            return train_stacked(problem, runs, options, keeper)
        return [train_plain(problem, run, options) for run in runs]


def train_callable(trainer: Trainer, run: Run) -> Outcome:
    """One run of a user's own training function."""
    start = time.perf_counter()
    settings = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
    settings |= {"lr": run.lr, "batch_size": run.batch_size}
    at = ", ".join(f"{name}={value:g}" for name, value in settings.items())
    losses = tried(f"{trainer.name}({at}; seed {run.seed}) failed", lambda: trainer.train(settings, run.seed))
    curve = _curve(losses, trainer.name)
    return Outcome(float(curve[0]), curve, True, time.perf_counter() - start)


def _curve(losses: Any, name: str) -> np.ndarray:
    try:
        curve = np.atleast_1d(np.asarray([] if losses is None else losses, dtype=np.float32))
    except (TypeError, ValueError, RuntimeError):
        curve = np.empty(0)
    if curve.ndim != 1 or not len(curve):
        raise BadInput(
            "train(settings, seed) returned no sequence of losses",
            value=reprlib.repr(losses),
            allowed="a sequence of at least 1 float",
            where=f"trainer {name!r}",
            instead="return losses  # one float after another",
        )
    return curve


def chunk_size(problem: Problem | Trainer, engine: str, compiled: bool = False) -> int:
    """How many runs make one task, at most 16,384.

    A stack is as large as keeps its tensors near the caches; a compiled one, which takes a fraction of the memory
    traffic, is larger, so that the cost of calling it is shared by more runs.
    """
    if engine != "stacked" or isinstance(problem, Trainer):
        return 1 if isinstance(problem, Trainer) else 4
    parameters = sum(p.numel() for p in problem.fresh(0).parameters())
    return max(8, min(2**14, 2 ** (21 if compiled else 18) // parameters))


@dataclass(frozen=True)
class Speeds:
    """Run-steps a second on one worker, measured on a few steps."""

    stacked: float  # 0 where the module cannot be stacked
    plain: float
    note: str  # why not stacked, where it cannot

    @property
    def engine(self) -> str:
        """The faster one."""
        return "stacked" if self.stacked >= self.plain else "plain"


def probe(problem: Problem, run: Run, runs: int, options: Options, steps: int = 20) -> Speeds:
    """Measure both engines on `steps` steps of copies of one run, as many as one task would hold."""
    short = problem.with_(steps=2 * steps)
    quick = replace(options, points=2, early_stop=False, compile=False)
    plain = plain_rate(short, run, quick)
    many = [run] * max(1, min(runs, chunk_size(problem, "stacked")))
    try:
        return Speeds(stacked_rate(short, many, quick), plain, "")
    except BadInput as error:
        return Speeds(0.0, plain, str(error))

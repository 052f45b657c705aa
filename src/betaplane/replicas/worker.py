"""What a worker does: train runs with one of the engines, or measure which engine is faster."""

from __future__ import annotations

import reprlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer
from betaplane.problems.check import call_user_code
from betaplane.replicas.objective import on_its_own
from betaplane.replicas.plain import plain_rate, train_plain
from betaplane.replicas.proof import NotProved, prove, why_plain
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.stacked import check_alike, stacked_outcomes
from betaplane.replicas.unfinished import UnfinishedRuns

ENGINES = ("stacked", "plain", "callable")


def train(
    problem: Problem | Trainer,
    runs: Sequence[Run],
    engine: str,
    options: Options,
    keeper: UnfinishedRuns | None = None,
) -> list[Outcome]:
    """Train the runs with an engine; "stacked" is for problems of which `probe` has proved that
    they can be.
    """
    if isinstance(problem, Trainer):
        return [train_callable(problem, run) for run in runs]
    if engine == "stacked":
        return stacked_outcomes(problem, runs, options, keeper)
    return [train_plain(problem, run, options) for run in runs]


def train_stacked(
    problem: Problem, runs: Sequence[Run], options: Options = Options()
) -> list[Outcome]:
    """Train all runs at once and return their outcomes in the same order.

    The runs share a rule, a batch size and a seed. A run's outcome does not depend on which others are in the stack, to
    rounding. Once per problem, batch size and rule it is proved on a few steps that a stack trains this problem; if it
    does not, the runs are trained one by one by `train_plain`, with a UserWarning that says why.

    Args:
        problem: what is trained.
        runs: the runs, R >= 1.
        options: how.

    Raises:
        BadInput: the runs have several batch sizes or seeds.
    """
    check_alike(runs, options.independent)
    if reason := why_plain(problem, runs[0], options):
        warnings.warn(
            f"{problem.name} is trained one run at a time, because {reason}.",
            UserWarning,
            stacklevel=2,
        )
        return [train_plain(problem, run, options) for run in runs]
    return stacked_outcomes(problem, runs, options)


def train_callable(trainer: Trainer, run: Run) -> Outcome:
    """One run of a user's own training function."""
    start = time.perf_counter()
    settings = {name: getattr(run.rule, name) for name in run.rule.hyperparameters()}
    settings |= {"lr": run.lr, "batch_size": run.batch_size}
    at = ", ".join(f"{name}={value:g}" for name, value in settings.items())
    losses = call_user_code(
        f"{trainer.name}({at}; seed {run.seed}) failed", lambda: trainer.train(settings, run.seed)
    )
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
    with on_its_own(problem):
        parameters = sum(p.numel() for p in problem.fresh(0).parameters())
    return max(8, min(2**14, 2 ** (21 if compiled else 18) // parameters))


@dataclass(frozen=True)
class Speeds:
    """Run-steps a second on one worker, measured on a few steps."""

    stacked: float  # 0 if the problem cannot be stacked
    plain: float
    note: str  # why not stacked, as what comes after "because"; else ""

    @property
    def engine(self) -> str:
        """The faster one of those that train this problem."""
        return "plain" if self.note or self.plain > self.stacked else "stacked"


def probe(problem: Problem, run: Run, runs: int, options: Options, steps: int = 20) -> Speeds:
    """Prove that a stack trains the problem, and measure both engines on copies of one run, as many
    as one task has.
    """
    quick = replace(options, points=2, early_stop=False, compile=False)
    plain = plain_rate(problem.with_(steps=2 * steps), run, quick)
    try:
        return Speeds(
            prove(problem, run, options, min(runs, chunk_size(problem, "stacked"))), plain, ""
        )
    except NotProved as reason:
        return Speeds(0.0, plain, str(reason))

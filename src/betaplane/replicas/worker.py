"""The tasks of a worker: train runs with one of the engines, or measure which engine is faster."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from betaplane.problems import Problem, Trainer
from betaplane.problems.family import variant
from betaplane.replicas.callable import train_callable
from betaplane.replicas.objective import isolated, problem_of
from betaplane.replicas.plain import plain_rate, train_plain
from betaplane.replicas.proof import NotProved, prove, why_plain
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.scalar import stacked_outcomes
from betaplane.replicas.stacked import check_alike
from betaplane.replicas.unfinished import UnfinishedRuns

ENGINES = ("stacked", "plain", "callable", "command")


def train(
    problem: Problem | Trainer,
    runs: Sequence[Run],
    engine: str,
    options: Options,
    storage: UnfinishedRuns | None = None,
) -> list[Outcome]:
    """Train runs of one variant with an engine; "stacked" is only for problems that `probe` has proved to be
    stackable.
    """
    if isinstance(problem, Trainer):
        return [train_callable(problem, run, options) for run in runs]
    problem = problem_of(problem, runs[0])
    if engine == "stacked":
        return stacked_outcomes(problem, runs, options, storage)
    return [train_plain(problem, run, options) for run in runs]


def train_stacked(
    problem: Problem, runs: Sequence[Run], options: Options = Options()
) -> list[Outcome]:
    """Train all runs together and return their outcomes in the same order.

    The runs share a rule, a batch size and a seed. Up to rounding, the outcome of a run does not
    depend on the other runs in the stack. Once per problem, batch size and rule, a few steps prove
    that a stack trains the problem correctly. If it does not, `train_plain` trains the runs one by
    one, with a UserWarning that states the reason.

    Args:
        problem: the problem to train.
        runs: the runs, R >= 1.
        options: options of all runs.

    Raises:
        BadInput: the runs have several batch sizes or seeds.
    """
    check_alike(runs, options.independent)
    problem = problem_of(problem, runs[0])
    if reason := why_plain(problem, runs[0], options):
        warnings.warn(
            f"{problem.name} is trained one run at a time, because {reason}.",
            UserWarning,
            stacklevel=3,  # the caller, since `explain_calls` wraps this function
        )
        return [train_plain(problem, run, options) for run in runs]
    return stacked_outcomes(problem, runs, options)


def chunk_size(problem: Problem | Trainer, engine: str, compiled: bool = False) -> int:
    """The number of runs per task, at most 16,384.

    A stack is small enough that its tensors stay near the caches. A compiled stack, which needs a
    fraction of the memory traffic, is larger, so that more runs share the cost of a call.
    """
    if engine != "stacked" or isinstance(problem, Trainer):
        return 1 if isinstance(problem, Trainer) else 4
    with isolated(problem):
        parameters = sum(p.numel() for p in problem.fresh(0).parameters())
    return max(8, min(2**14, 2 ** (21 if compiled else 18) // parameters))


@dataclass(frozen=True)
class Speeds:
    """Run-steps per second of one worker, measured on a few steps."""

    stacked: float  # 0 if the problem cannot be stacked
    plain: float
    note: str  # why the problem cannot be stacked, a clause after "because", or ""

    @property
    def engine(self) -> str:
        """The faster engine of those that can train this problem."""
        return "plain" if self.note or self.plain > self.stacked else "stacked"


def probe(problem: Problem, run: Run, runs: int, options: Options, steps: int = 20) -> Speeds:
    """Prove that a stack trains the problem, and measure both engines on a task of copies of one
    run.
    """
    problem = variant(problem, dict(run.variant))
    run = replace(run, steps=None)  # it takes as many steps as are measured
    quick = replace(options, points=2, early_stop=False, compile=False)
    plain = plain_rate(problem.with_(steps=2 * steps), run, quick)
    try:
        return Speeds(
            prove(problem, run, options, min(runs, chunk_size(problem, "stacked"))), plain, ""
        )
    except NotProved as reason:
        return Speeds(0.0, plain, str(reason))

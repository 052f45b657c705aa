"""Choose the engine that trains the runs of a map, and say why."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

from betaplane.errors import BadInput
from betaplane.executors import Executor
from betaplane.maps.plan import Plan
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Run, Speeds, probe
from betaplane.replicas.seeds import is_same_for_all_seeds

# increase it when `prove` changes: results stored by older versions are then measured again
PROOF_VERSION = 3


@dataclass(frozen=True)
class Choice:
    """An engine, and the measurements behind the choice."""

    engine: str  # "stacked", "plain", "callable" or "command"
    speeds: Speeds | None = None  # None if nothing was measured

    @property
    def why_plain(self) -> str:
        """Why the problem cannot be stacked, as a clause after "because".

        Empty if it can be stacked or nothing was measured.
        """
        return self.speeds.note if self.speeds else ""


def choose_engine(
    problem: Problem | Trainer,
    plan: Plan,
    executor: Executor,
    run: Run,
    runs: int,
    known: MutableMapping[str, Any],
) -> Choice:
    """The engine that trains a problem's runs.

    ```
    problem, plan.engine          engine
    a Trainer                     command, callable
    "plain"                       plain
    "stacked", "auto": not proved an error, plain
    "stacked", "auto": proved     stacked, the faster one
    ```

    Args:
        problem: what is trained.
        plan: gives the requested engine, the rule and the options.
        executor: its workers measure.
        run: one run of the plan.
        runs: the number of runs.
        known: earlier measurements, so that a resumed map continues with the same engine; updated.

    Raises:
        BadInput: the plan requests stacking, and the problem cannot be stacked.
    """
    if isinstance(problem, Trainer):
        return Choice("command" if problem.command else "callable")
    if plan.engine == "plain":
        return Choice("plain")
    speeds = _measured(plan, executor, run, runs, known)
    if plan.engine == "auto":
        return Choice(speeds.engine, speeds)
    if speeds.note:
        raise BadInput(
            f"The problem cannot be stacked, because {speeds.note}",
            value="stacked",
            allowed="auto, plain",
            where="engine",
            instead='engine="auto"',
        )
    return Choice("stacked", speeds)


def ignores_seed(
    choice: Choice,
    plan: Plan,
    executor: Executor,
    run: Run,
    known: MutableMapping[str, Any],
) -> bool:
    """Whether it is proved that the runs of a map do not depend on their seed.

    Never of a training function or a command, of a problem that is not proved to be stackable, or
    of several variants of a problem.

    Args:
        choice: the engine of the problem.
        plan: gives the rule, the axes and the options.
        executor: its workers make the proof.
        run: one run of the plan.
        known: earlier proofs; updated.
    """
    if choice.speeds is None or choice.speeds.note or plan.problem_options:
        return False
    key = f"seeds, {_measurement(plan, run)}"
    if key not in known:
        known[key] = executor.call(is_same_for_all_seeds, run, plan.options)
    return known[key]


def _measured(
    plan: Plan, executor: Executor, run: Run, runs: int, known: MutableMapping[str, Any]
) -> Speeds:
    key = _measurement(plan, run)
    if key not in known:
        known[key] = asdict(executor.call(probe, run, runs, plan.options))
    return Speeds(**known[key])


def _measurement(plan: Plan, run: Run) -> str:
    rule = type(plan.rule).__name__
    return f"proof {PROOF_VERSION}, speeds of {rule}, batch size {run.batch_size}, {plan.options}"

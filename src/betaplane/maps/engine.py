"""Choose the engine that trains the runs of a map, and say why."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

from betaplane.errors import BadInput
from betaplane.maps.plan import Plan
from betaplane.problems import Problem, Trainer
from betaplane.replicas import Pool, Run, Speeds, probe

PROOF = 1  # raise it when `prove` changes: what older versions have stored is then measured again


@dataclass(frozen=True)
class Choice:
    """An engine, and what it rests on."""

    engine: str  # "stacked", "plain" or "callable"
    speeds: Speeds | None = None  # None if nothing was measured

    @property
    def why_plain(self) -> str:
        """Why the problem cannot be stacked, as what comes after "because"; "" if it can or that is
        not known.
        """
        return self.speeds.note if self.speeds else ""


def choose_engine(
    problem: Problem | Trainer,
    plan: Plan,
    pool: Pool,
    run: Run,
    runs: int,
    known: MutableMapping[str, Any],
) -> Choice:
    """The engine that trains a problem's runs.

    ```
    problem, plan.engine          engine
    a Trainer                     callable
    "plain"                       plain
    "stacked", "auto": not proved an error, plain
    "stacked", "auto": proved     stacked, the faster one
    ```

    Args:
        problem: what is trained.
        plan: has the engine asked for, the rule and the options.
        pool: its workers measure.
        run: one run of the plan.
        runs: how many there are.
        known: what was measured before, so that a resumed map continues with the same engine; written to.

    Raises:
        BadInput: the plan asks for a stack, and the problem cannot be stacked.
    """
    if isinstance(problem, Trainer):
        return Choice("callable")
    if plan.engine == "plain":
        return Choice("plain")
    about = f"proof {PROOF}, speeds of {type(plan.rule).__name__}, batch size {run.batch_size}, {plan.options}"
    if about not in known:
        known[about] = asdict(pool.result(pool.call(probe, run, runs, plan.options)))
    choice = Choice("stacked", Speeds(**known[about]))
    if plan.engine == "stacked" and choice.why_plain:
        raise BadInput(
            f"The problem cannot be stacked, because {choice.why_plain}",
            value="stacked",
            allowed="auto, plain",
            where="engine",
            instead='engine="auto"',
        )
    return (
        choice if plan.engine == "stacked" else Choice(Speeds(**known[about]).engine, choice.speeds)
    )

"""Short runs of the plain and the stacked engine that detect what a stack does not carry."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems.generators import (
    GeneratorStates,
    generator_states,
    preserve_generators,
    set_generators,
)
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import Snapshot, put_back
from betaplane.replicas.comparison import LOSSES, FinalState
from betaplane.replicas.objective import isolated
from betaplane.replicas.plain import PlainTraining
from betaplane.replicas.run import Options, Run
from betaplane.replicas.scalar import new_training
from betaplane.replicas.unstackable import (
    forward_obstacle,
    structural_obstacle,
    tensor_properties,
)

MIN_STEPS, MAX_STEPS = 4, 16  # of a short run
HELD_OUT = "the held-out values"
PLAIN_SECONDS = 0.6  # that the plain steps may take


class NotProved(Exception):
    """The text states why a stack may train another problem, as a clause after "because"."""


class Draws(NotProved):
    """Random numbers were drawn, perhaps by another thread of this process."""


def affordable_steps(problem: Problem, run: Run, options: Options) -> int:
    """The number of steps that fit into the time.

    Raises:
        NotProved: torch.func would lose something without an error.
    """
    with isolated(problem):
        training = PlainTraining(problem, run, options)
        _reject(structural_obstacle(training.objective))
        x, y = next(training.batches())
        with put_back(objective=training.objective), preserve_generators():
            _reject(_forward_obstacle(training, x.clone(), y.clone()))
        with put_back(objective=training.objective), preserve_generators():
            start = time.perf_counter()
            training.gradients((x, y))
            seconds = time.perf_counter() - start
    return int(np.clip(PLAIN_SECONDS / (6 * seconds), MIN_STEPS, MAX_STEPS))


def _forward_obstacle(training: PlainTraining, x: Tensor, y: Tensor) -> str:
    try:
        return forward_obstacle(training.objective, training.gradients, x, y)
    except Exception as error:  # the observation itself may cause an error
        return f"its operations cannot be observed ({type(error).__name__}: {error})"


def run_plain(problem: Problem, run: Run, options: Options) -> FinalState:
    """Train with the plain engine.

    Raises:
        NotProved: something changes that a stack does not carry.
    """
    with isolated(problem):
        training = PlainTraining(problem, run, options)
        before, watcher = generator_states(), _Watcher(training)
        outcome, after = training.outcome(watcher.check), generator_states()
        of_data = _after_reading(problem, run, before)
    drawn = after.differences(of_data)
    for generator, library in (("random", "Python"), ("NumPy", "NumPy")):
        if generator in drawn:
            raise Draws(f"it draws from {library}'s random numbers")
    objective = training.objective
    tensors = {
        name: t.detach().clone()
        for name, t in (*objective.named_parameters(), *objective.named_buffers())
    }
    losses = torch.tensor(outcome.initial), torch.from_numpy(outcome.curve)
    if outcome.held_out is not None:
        tensors[HELD_OUT] = torch.from_numpy(outcome.held_out)
    return FinalState(dict(zip(LOSSES, losses, strict=True)) | tensors, after, draws=bool(drawn))


def _after_reading(problem: Problem, run: Run, before: GeneratorStates) -> GeneratorStates:
    """The states of the generators if nothing but the data of a run draws from them."""
    if problem.data is None:
        return before
    with put_back(data=problem.data), preserve_generators():
        set_generators(before)
        deque(islice(problem.batches(run.batch_size, run.seed), problem.steps), maxlen=0)
        return generator_states()


class _Watcher:
    """Checks, after each step of a run, for a change that a stack does not carry."""

    def __init__(self, training: PlainTraining) -> None:
        self.objective = objective = training.objective
        carried = (
            *objective.parameters(),
            *objective.buffers(),
            *(module._buffers for module in objective.modules()),
        )
        # a stack reads the same loader, whose generator may advance
        functions = {name: f for name, f in training.problem.functions.items() if name != "data"}
        roots = {**functions, "loss": objective.loss, "module": objective.module}
        self.snapshot = Snapshot(roots, carried)
        self.properties = tensor_properties(objective)
        self.trained: frozenset[str] | None = None  # the parameters that receive a gradient
        _reject(self.snapshot.unseen or self.snapshot.outside)

    def check(self) -> None:
        """Raise NotProved if there is a change."""
        trained = frozenset(
            name for name, p in self.objective.named_parameters() if p.grad is not None
        )
        if trained != (self.trained or trained):
            raise NotProved("the parameters that receive a gradient are not the same in all steps")
        self.trained = trained
        if path := self.snapshot.changed():
            raise NotProved(f"{path} changes in training, and is neither a parameter nor a buffer")
        before, after = self.properties, tensor_properties(self.objective)
        if changed := [name for name in {**after, **before} if after.get(name) != before.get(name)]:
            raise NotProved(f"{changed[0]} is created, replaced, frozen or unfrozen in training")


def run_stacked(
    problem: Problem, runs: Sequence[Run], options: Options
) -> tuple[list[FinalState], float]:
    """Train the runs as a stack: the final states of the first two, and run-steps per second in the
    second half.

    Raises:
        NotProved: torch.func raises an error.
    """
    try:
        with isolated(problem):
            training, losses = new_training(problem, runs, options), []
            for point, (length, batch) in enumerate(
                zip(training.lengths, training.blocks(), strict=False)
            ):
                start = time.perf_counter()
                loss = training.window(point, length, batch)
                training.curves[:, point] = loss
                training.held_out.measure(point)
                losses.append(torch.from_numpy(loss).float())
            rate = len(runs) * length / (time.perf_counter() - start)
            after = generator_states()
    except Exception as error:  # any error of torch.func
        raise NotProved(_reason(error)) from error
    tensors = {**training.stack.params, **training.stack.buffers}
    tensors |= dict(
        zip(LOSSES, (torch.from_numpy(training.initial), torch.stack(losses, dim=1)), strict=True)
    )
    if training.held_out.measured:
        tensors[HELD_OUT] = torch.from_numpy(training.held_out.values)
    ends = [FinalState({name: t[i] for name, t in tensors.items()}, after) for i in range(2)]
    return ends, rate


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, BadInput) and error.__cause__ else error
    text = " ".join(str(cause).split()).split(". ")[0]
    return f"torch.func cannot batch it ({type(cause).__name__}: {text[:160]})"


def _reject(reason: str) -> None:
    if reason:
        raise NotProved(reason)

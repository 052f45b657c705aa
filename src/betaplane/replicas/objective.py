"""The module and loss of a run as one nn.Module, initialized by the run's seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems.family import variant
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.in_memory import tensors_of
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back
from betaplane.replicas.run import Run

MODULE_PREFIX = "module."  # of the names of the module's parameters in an objective
INITIAL_LOSS_EXAMPLES = 1024  # the initial loss is that of the first examples


class Objective(nn.Module):
    """The loss of a module's output, with the parameters of both.

    Args:
        problem: contains the module, which is initialized from the global generators, and the loss.
        device: device of both.
    """

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__()
        self.module = problem.make().to(device)
        self.loss = problem.loss.to(device) if isinstance(problem.loss, nn.Module) else problem.loss
        self.form = problem.form

    def forward(self, batch: Any) -> Tensor:
        """The loss of a minibatch."""
        return self.form.value_of(self.loss, self.module, batch)


def examples_of(problem: Problem) -> tuple[Tensor, Tensor]:
    """Inputs and targets in memory: those of the problem, or of its loader."""
    if problem.data is not None:
        return tensors_of(problem.data)  # pyright: ignore[reportArgumentType]  # a loader
    return problem.inputs, problem.targets


def batch_of(problem: Problem, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | list[Tensor]:
    """A minibatch in the form that the loss receives: a loader makes lists."""
    return (x, y) if problem.data is None else [x, y]


def problem_of(problem: Problem, run: Run) -> Problem:
    """The variant of the problem that a run trains, with the number of its steps."""
    problem = variant(problem, dict(run.variant))
    return problem if run.steps is None else problem.with_(steps=run.steps)


def run_seed(run: Run, independent: bool | Literal["paired"]) -> int:
    """The seed of initialization and order: the run's seed, mixed with its settings if
    independent and not paired.
    """
    if not independent or independent == "paired":
        return run.seed
    mixed = hashlib.sha256(repr((run.seed, run.rule, run.lr, run.batch_size)).encode()).digest()
    return int.from_bytes(mixed[:4], "little")


def fresh_objective(
    problem: Problem, run: Run, independent: bool | Literal["paired"], device: str
) -> Objective:
    """The objective of a run; the generators are left in the state before the run's first step.

    Independent runs differ only in initialization and order: random numbers of their steps are
    those of the seed.
    """
    seed_generators(run_seed(run, independent))
    objective = Objective(problem, device)
    # data draw their order from the global generators
    if independent and problem.data is None:
        seed_generators(run.seed)
    return objective


@contextmanager
def isolated(problem: Problem) -> Iterator[None]:
    """Restore, at the end of the block, the generators and everything that the problem's code
    changed outside of its modules.
    """
    with preserve_generators(), put_back(**problem.functions):
        yield


def analytic_gradient(
    problem: Problem, params: Mapping[str, Tensor], x: Tensor, y: Tensor
) -> tuple[dict, Tensor]:
    """The problem's own gradient, by the names of the objective's parameters, and the loss."""
    assert problem.gradient is not None
    grads, loss = problem.gradient(
        {name.removeprefix(MODULE_PREFIX): p for name, p in params.items()}, x, y
    )
    return {MODULE_PREFIX + name: gradient for name, gradient in grads.items()}, loss


def trained_names(problem: Problem, objective: Objective, x: Tensor, y: Tensor) -> set[str]:
    """Names of the parameters that receive a gradient from a minibatch; the objective and the
    generators do not change.
    """
    if problem.gradient is not None:
        return {
            name
            for name, p in objective.named_parameters()
            if p.requires_grad and name.startswith(MODULE_PREFIX)
        }
    with put_back(objective=objective), preserve_generators():
        objective(batch_of(problem, x.clone(), y.clone())).backward()
        names = {name for name, p in objective.named_parameters() if p.grad is not None}
        objective.zero_grad()
        return names


@contextmanager
def evaluation(objective: Objective, where: str, instead: str) -> Iterator[None]:
    """Put the module in evaluation mode; at the end of the block, the objective and the generators
    are as before.

    Args:
        objective: module and loss.
        where: the option that needs the evaluation, for the error.
        instead: the option that does not.

    Raises:
        BadInput: the module has state that cannot be restored.
    """
    with put_back(objective=objective) as before, preserve_generators():
        if before.unseen:
            raise BadInput(
                "The module cannot be evaluated without changing its training",
                value=before.unseen,
                allowed="state that can be restored",
                where=where,
                instead=instead,
            )
        objective.module.eval()
        yield


def full_loss(objective: Objective, x: Tensor, y: Tensor) -> float:
    """The loss in evaluation mode; the objective and the generators do not change."""
    with evaluation(objective, 'record="full"', 'record="minibatch"'), torch.no_grad():
        return float(objective((x.clone(), y.clone())))


def initial_loss(objective: Objective, x: Tensor, y: Tensor) -> float | None:
    """The loss of the first examples in evaluation mode; None if the evaluation raises an error."""
    try:
        return full_loss(objective, x[:INITIAL_LOSS_EXAMPLES], y[:INITIAL_LOSS_EXAMPLES])
    except Exception:  # such as a fixed batch size; the first minibatch's loss is used instead
        return None

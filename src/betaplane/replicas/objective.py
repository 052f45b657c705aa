"""What a run trains: a module and its loss as one nn.Module, made as the run's seed makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back
from betaplane.replicas.run import Run

MODULE = "module."  # before the names of the module's parameters in an objective
EVALUATED = 1024  # examples of the initial loss


class Objective(nn.Module):
    """The loss of a module's output, with the parameters of both.

    Args:
        problem: has the module, drawn from the global generators as they are, and the loss.
        device: where both are moved.
    """

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__()
        self.module = problem.make().to(device)
        self.loss = problem.loss.to(device) if isinstance(problem.loss, nn.Module) else problem.loss

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of a minibatch."""
        return self.loss(self.module(x), y)


def run_seed(run: Run, independent: bool) -> int:
    """The seed of a run's initialization and order: the run's own, or one mixed with its settings."""
    if not independent:
        return run.seed
    mixed = hashlib.sha256(repr((run.seed, run.rule, run.lr, run.batch_size)).encode()).digest()
    return int.from_bytes(mixed[:4], "little")


def started(problem: Problem, run: Run, independent: bool, device: str) -> Objective:
    """A run's objective; leaves the generators as the run's first step finds them.

    Independent runs differ in initialization and order alone: what is drawn while they train is the same for a seed.
    """
    seed_generators(run_seed(run, independent))
    objective = Objective(problem, device)
    if independent:
        seed_generators(run.seed)
    return objective


@contextmanager
def on_its_own(problem: Problem) -> Iterator[None]:
    """Train inside: the generators, and all that the problem's code changes outside of its modules,
    are put back.
    """
    with preserve_generators(), put_back(**problem.functions):
        yield


def given_gradient(
    problem: Problem, params: Mapping[str, Tensor], x: Tensor, y: Tensor
) -> tuple[dict, Tensor]:
    """The problem's own gradient and loss, by the names that the objective's parameters have."""
    assert problem.gradient is not None
    grads, loss = problem.gradient(
        {name.removeprefix(MODULE): p for name, p in params.items()}, x, y
    )
    return {MODULE + name: gradient for name, gradient in grads.items()}, loss


def trained_names(problem: Problem, objective: Objective, x: Tensor, y: Tensor) -> set[str]:
    """The parameters that receive a gradient from a minibatch; leaves the objective and the
    generators as they were.
    """
    if problem.gradient is not None:
        return {
            name
            for name, p in objective.named_parameters()
            if p.requires_grad and name.startswith(MODULE)
        }
    with put_back(objective=objective), preserve_generators():
        objective(x.clone(), y.clone()).backward()
        names = {name for name, p in objective.named_parameters() if p.grad is not None}
        objective.zero_grad()
        return names


def full_loss(objective: Objective, x: Tensor, y: Tensor) -> float:
    """The loss in evaluation mode; leaves the objective and the generators exactly as they were."""
    with put_back(objective=objective) as before, preserve_generators(), torch.no_grad():
        if before.unseen:
            raise BadInput(
                "The module cannot be evaluated without a change to its training",
                value=before.unseen,
                allowed="state that can be put back",
                where='record="full"',
                instead='record="minibatch"',
            )
        objective.module.eval()
        return float(objective(x.clone(), y.clone()))


def initial_loss(objective: Objective, x: Tensor, y: Tensor) -> float | None:
    """The loss of the first examples in evaluation mode; None if the module cannot be evaluated on
    them.
    """
    try:
        return full_loss(objective, x[:EVALUATED], y[:EVALUATED])
    except Exception:  # such as a fixed batch size; the first minibatch's loss is taken instead
        return None

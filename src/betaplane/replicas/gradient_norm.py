"""The norm of the gradient of the loss on all examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from betaplane.problems.problem import Problem
from betaplane.replicas.objective import (
    INITIAL_LOSS_EXAMPLES,
    Objective,
    analytic_gradient,
    evaluation,
)

Gradients = Mapping[str, Tensor]


def mean_gradient_norm(
    gradients: Callable[[Tensor, Tensor], Gradients], x: Tensor, y: Tensor
) -> Tensor:
    """The Euclidean norm of the gradient on all examples, float64.

    The loss is a mean over examples, so that the gradients of blocks of examples are averaged.

    Args:
        gradients: the gradient of the loss on a block of examples, by name of the parameter.
        x: all inputs.
        y: all targets.
    """
    total: dict[str, Tensor] = {}
    for xs, ys in _blocks(x, y):
        for name, gradient in gradients(xs, ys).items():
            part = gradient.double() * (len(xs) / len(x))
            total[name] = total[name] + part if name in total else part
    return torch.stack([gradient.square().sum() for gradient in total.values()]).sum().sqrt()


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = INITIAL_LOSS_EXAMPLES
    return zip(x.split(size), y.split(size), strict=True)


def full_gradient_norm(problem: Problem, objective: Objective, x: Tensor, y: Tensor) -> float:
    """The norm in evaluation mode; the objective and the generators do not change."""

    def gradients(x: Tensor, y: Tensor) -> Gradients:
        named = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        if problem.gradient is not None:
            with torch.no_grad():
                return analytic_gradient(problem, named, x, y)[0]
        loss = objective((x.clone(), y.clone()))
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        pairs = zip(named, grads, strict=True)
        return {name: gradient for name, gradient in pairs if gradient is not None}

    with evaluation(objective, 'judge="gradient-norm"', 'judge="loss"'):
        return float(mean_gradient_norm(gradients, x, y))

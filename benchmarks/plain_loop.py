"""A training loop of a few lines, as a user writes it: what maps are held against.

It shares nothing with the engines: torch's own Adam, its own minibatches, its own seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from betaplane.problems import Problem

Watch = Callable[[torch.optim.Optimizer, torch.nn.Module], Callable[[float], None]]


def train_losses(
    problem: Problem, settings: Mapping[str, float], seed: int, watch: Watch | None = None
) -> list[float]:
    """The minibatch loss of each step, before the step; shorter if it is no longer finite.

    Args:
        problem: shuffled minibatches, a constant learning rate, minibatch losses.
        settings: lr, beta1, beta2, batch_size; what is missing is the problem's or torch's default.
        seed: seeds Python's, NumPy's and torch's generators, which draw everything.
        watch: given optimizer and module before training, returns what every loss is handed to.
    """
    if (problem.order, problem.schedule, problem.record) != ("shuffle", "constant", "minibatch"):
        raise ValueError(f"{problem.name} needs another loop")
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    module = problem.module()
    extra = problem.loss.parameters() if isinstance(problem.loss, torch.nn.Module) else ()
    betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    lr = settings.get("lr", problem.lr)
    optimizer = torch.optim.Adam([*module.parameters(), *extra], lr=lr, betas=betas)
    report = watch(optimizer, module) if watch else None
    losses: list[float] = []
    for rows in _minibatches(problem, int(settings.get("batch_size", problem.batch_size))):
        optimizer.zero_grad()
        loss = problem.loss(module(problem.inputs[rows]), problem.targets[rows])
        losses.append(loss.item())
        if report:
            report(losses[-1])
        if not np.isfinite(losses[-1]):
            break
        loss.backward()
        optimizer.step()
    return losses


def final_loss(losses: list[float]) -> float:
    """The mean of the last tenth; inf if the run diverged."""
    tenth = losses[-max(len(losses) // 10, 1) :]
    return float(np.mean(tenth)) if np.isfinite(losses[-1]) else float("inf")


def _minibatches(problem: Problem, size: int) -> Any:
    done = 0
    while True:
        order = torch.randperm(len(problem.inputs))
        for rows in order[: len(order) // size * size].split(size):
            if done == problem.steps:
                return
            yield rows
            done += 1

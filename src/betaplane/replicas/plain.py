"""One run at a time with a plain module and torch's own optimizer: for steps that are bound by arithmetic."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.optim.host import host_optimizer
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.replicas.stacked import run_seed
from betaplane.theory.schedules import multipliers


def train_plain(problem: Problem, run: Run, options: Options = Options()) -> Outcome:
    """Train one run and return its outcome: the slow twin of `train_stacked`, equal to it to rounding.

    Args:
        problem: what is trained.
        run: its hyperparameters and seed.
        options: how; `compile` is ignored.
    """
    start = time.perf_counter()
    seed = run_seed(run, options.independent)
    module = problem.fresh(seed).to(options.device)
    optimizer = host_optimizer(run.rule, list(module.parameters()), run.lr)
    inputs, targets = problem.inputs.to(options.device), problem.targets.to(options.device)
    initial = _evaluate(problem, module, inputs[:1024], targets[:1024])
    lengths = windows(problem.steps, options.points)
    mult = multipliers(problem.schedule, problem.steps, problem.warmup)
    curve: list[float] = []
    for x, y in _blocks(problem, run, seed, lengths, inputs, targets):
        first = len(curve) * lengths[0]
        total = torch.zeros((), dtype=torch.float64, device=options.device)
        for k in range(len(x)):
            torch.manual_seed(run.seed * 1_000_003 + first + k)
            _set_lr(optimizer, run.lr * float(mult[first + k]))
            total += _step(problem, module, optimizer, x[k], y[k])
        full = problem.record == "full"
        curve.append(_evaluate(problem, module, inputs, targets) if full else float(total) / len(x))
        if _over(curve, initial, len(lengths), options.early_stop):
            break
    whole = len(curve) == len(lengths)
    return Outcome(initial, np.array(curve, dtype=np.float32), whole, time.perf_counter() - start)


def plain_rate(problem: Problem, run: Run, options: Options) -> float:
    """Steps a second, measured on a second training; the first one warms up."""
    train_plain(problem, run, options)
    return problem.steps / train_plain(problem, run, options).seconds


def _blocks(
    problem: Problem, run: Run, seed: int, lengths: list[int], inputs: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    stream = minibatches(problem.examples, run.batch_size, problem.order, seed, lengths[0])
    for length in lengths:
        index = next(stream)[:length].to(inputs.device)
        yield inputs[index], targets[index]


def _step(problem: Problem, module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    if problem.gradient is None:
        optimizer.zero_grad()
        loss = problem.loss(module(x), y)
        loss.backward()
    else:
        named = dict(module.named_parameters())
        with torch.no_grad():
            grads, loss = problem.gradient(named, x, y)
        for name, p in named.items():
            p.grad = grads[name].reshape(p.shape)
    optimizer.step()
    if problem.constrain is not None:
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(problem.constrain(p))
    return loss.detach()


def _evaluate(problem: Problem, module: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        loss = float(problem.loss(module.eval()(x), y))
    module.train()
    return loss


def _set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def _over(curve: list[float], initial: float, points: int, early_stop: bool) -> bool:
    if not early_stop:
        return not np.isfinite(curve[-1])
    return bool(certainly_failing(np.array([curve]), np.array([initial]), points)[0])

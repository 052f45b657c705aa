"""The plain engine: one run at a time, by the loop that `Problem` documents; the reference for all
engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betaplane.optim.from_rule import grouped_optimizer
from betaplane.problems.batch import to_device
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.replicas.gradient_norm import full_gradient_norm
from betaplane.replicas.held_out import (
    POINTS,
    held_out_value,
    measured_windows,
    measures_held_out,
)
from betaplane.replicas.judge import curve_of, with_record
from betaplane.replicas.objective import (
    analytic_gradient,
    fresh_objective,
    full_loss,
    initial_loss,
    isolated,
    problem_of,
    run_seed,
)
from betaplane.replicas.param_groups import param_groups
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.theory.schedules import multipliers


def train_plain(problem: Problem, run: Run, options: Options = Options()) -> Outcome:
    """Train one run with a module and a torch optimizer, by the loop that `Problem` documents.

    Args:
        problem: the problem to train.
        run: its hyperparameters and seed.
        options: options of all runs; `compile` is ignored.
    """
    problem = problem_of(problem, run)
    with isolated(problem):
        return PlainTraining(problem, run, options).outcome()


def plain_rate(problem: Problem, run: Run, options: Options) -> float:
    """Steps per second, measured on a second run; the first run is a warm-up."""
    train_plain(problem, run, options)
    return problem.steps / train_plain(problem, run, options).seconds


class PlainTraining:
    """A run in progress.

    It draws from the global generators: create and train it inside `isolated`.
    """

    def __init__(self, problem: Problem, run: Run, options: Options) -> None:
        self.problem = problem = with_record(problem, options.judge)
        self.run, self.options = run, options
        held_out = options.judge == "validation"
        points = min(options.points, POINTS) if held_out else options.points
        self.lengths = windows(problem.steps, points)
        # the windows after which held-out data are measured beside the loss
        measures = measures_held_out(problem, options.judge)
        self.measured = measured_windows(len(self.lengths)) if measures else range(0)
        self.lr_factors = multipliers(problem.schedule, problem.steps, problem.warmup)
        self.start = time.perf_counter()
        self.objective = fresh_objective(problem, run, options.independent, options.device)
        params, groups = (
            dict(self.objective.named_parameters()),
            param_groups(problem, self.objective, run),
        )
        self.optimizer = grouped_optimizer(
            [([params[name] for name in group.params], group.rule, group.lr) for group in groups]
        )
        self.lrs = [group.lr for group in groups]
        self.initial: float | None = None  # without tensors in memory, that of the first minibatch
        if problem.data is None:
            self.inputs = problem.inputs.to(options.device)
            self.targets = problem.targets.to(options.device)
        if problem.data is None or held_out:
            self.initial = self._initial_value()

    def outcome(self, after_step: Callable[[], None] = lambda: None) -> Outcome:
        """Train to the end, or until the verdict is certain; call `after_step` after each step."""
        curve: list[float] = []
        held_out: list[float] = []
        batches = self.batches()
        for length in self.lengths:
            total = torch.zeros((), dtype=torch.float64, device=self.options.device)
            for k in range(length):
                total += self._step(len(curve) * self.lengths[0] + k, next(batches))
                after_step()
            curve.append(self._point(total, length))
            if self.measured and len(curve) - 1 in self.measured and np.isfinite(curve[-1]):
                held_out.append(held_out_value(self.problem, self.objective, self.options.device))
            if self._ends_early(curve):
                break
        # no gradient is left on parameters of the user's loss or module factory
        self.optimizer.zero_grad()
        whole = len(curve) == len(self.lengths)
        seconds = time.perf_counter() - self.start
        points, judge = np.array(curve, dtype=np.float32), self.options.judge
        points = curve_of(points, self.lengths, judge)
        measured = np.array(held_out, np.float32) if self.measured else None
        return Outcome(self._initial(), points, whole, seconds, judge, held_out=measured)

    def batches(self) -> Iterator[Any]:
        """The minibatches of the run, on its device."""
        problem, seed = self.problem, run_seed(self.run, self.options.independent)
        if problem.data is None:
            yield from self._gathered(seed)
        for batch in problem.batches(self.run.batch_size, seed):
            yield to_device(batch, self.options.device)

    def _gathered(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The minibatches of tensors in memory; those of a window are gathered together."""
        problem, size = self.problem, self.run.batch_size
        stream = minibatches(problem.examples, size, problem.order, seed, self.lengths[0])
        for index in stream:
            index = index.to(self.inputs.device)
            yield from zip(self.inputs[index], self.targets[index], strict=True)

    def _step(self, steps_done: int, batch: Any) -> Tensor:
        factor = float(self.lr_factors[steps_done])
        for group, lr in zip(self.optimizer.param_groups, self.lrs, strict=True):
            group["lr"] = lr * factor
        self.optimizer.zero_grad()
        loss = self.gradients(batch)
        if self.initial is None:
            self.initial = float(loss)
        self.optimizer.step()
        if self.problem.constrain is not None:
            self._constrain(self.problem.constrain)
        return loss

    def gradients(self, batch: Any) -> Tensor:
        """Set every parameter's gradient; return the loss."""
        if self.problem.gradient is None:
            loss = self.objective(batch)
            loss.backward()
            return loss.detach()
        named = dict(self.objective.named_parameters())
        with torch.no_grad():
            grads, loss = analytic_gradient(self.problem, named, *batch)
        for name, p in named.items():
            p.grad = grads[name].reshape(p.shape) if p.requires_grad and name in grads else None
        return loss.detach()

    def _constrain(self, constrain: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            for p in self.objective.parameters():
                if p.grad is not None:
                    p.copy_(constrain(p))

    def _point(self, total: Tensor, steps: int) -> float:
        diverged = self.options.judge == "validation" and not torch.isfinite(total)
        if self.problem.record == "full" or (self.options.judge == "validation" and not diverged):
            return self._full_value()
        return float(total) / steps

    def _full_value(self) -> float:
        """The loss on all examples, the norm of its gradient, or the held-out metric."""
        if self.options.judge == "validation":
            return held_out_value(self.problem, self.objective, self.options.device)
        if self.options.judge == "gradient-norm":
            return full_gradient_norm(self.problem, self.objective, self.inputs, self.targets)
        return full_loss(self.objective, self.inputs, self.targets)

    def _initial_value(self) -> float | None:
        if self.options.judge in ("gradient-norm", "validation"):
            return self._full_value()
        return initial_loss(self.objective, self.inputs, self.targets)

    def _initial(self) -> float:
        assert self.initial is not None  # set by the first step
        return self.initial

    def _ends_early(self, curve: list[float]) -> bool:
        if not self.options.stops_early:
            return not np.isfinite(curve[-1])
        curves, initial = np.array([curve]), np.array([self._initial()])
        return bool(certainly_failing(curves, initial, len(self.lengths))[0])

"""One run at a time, by the loop that `Problem` documents: the reference for all engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.optim.from_rule import host_optimizer
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import (
    Objective,
    full_loss,
    given_gradient,
    initial_loss,
    on_its_own,
    run_seed,
    started,
)
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.theory.schedules import multipliers


def train_plain(problem: Problem, run: Run, options: Options = Options()) -> Outcome:
    """Train one run with a module and torch's own optimizer, exactly as `Problem` says.

    Args:
        problem: what is trained.
        run: its hyperparameters and seed.
        options: how; `compile` is ignored.
    """
    with on_its_own(problem):
        return PlainTraining(problem, run, options).outcome()


def plain_rate(problem: Problem, run: Run, options: Options) -> float:
    """Steps a second, measured on a second run; the first one warms up."""
    train_plain(problem, run, options)
    return problem.steps / train_plain(problem, run, options).seconds


class PlainTraining:
    """A run under way; uses the global generators as its own, so it is made and trained inside
    `on_its_own`.
    """

    def __init__(self, problem: Problem, run: Run, options: Options) -> None:
        self.problem, self.run, self.options = problem, run, options
        self.inputs, self.targets = (
            problem.inputs.to(options.device),
            problem.targets.to(options.device),
        )
        self.lengths = windows(problem.steps, options.points)
        self.mult = multipliers(problem.schedule, problem.steps, problem.warmup)
        self.start = time.perf_counter()
        self.objective = started(problem, run, options.independent, options.device)
        self.optimizer = host_optimizer(run.rule, _given(self.objective), run.lr)
        self.initial = initial_loss(self.objective, self.inputs, self.targets)

    def outcome(self, after_step: Callable[[], None] = lambda: None) -> Outcome:
        """Train to the end, or until the verdict is certain; calls `after_step` after each step."""
        curve: list[float] = []
        for x, y in self.blocks():
            total = torch.zeros((), dtype=torch.float64, device=x.device)
            for k in range(len(x)):
                total += self._step(len(curve) * self.lengths[0] + k, x[k], y[k])
                after_step()
            curve.append(self._point(total, len(x)))
            if self._over(curve):
                break
        # parameters that belong to the user's loss or factory keep no gradient
        self.optimizer.zero_grad()
        whole = len(curve) == len(self.lengths)
        return Outcome(
            self._initial(),
            np.array(curve, dtype=np.float32),
            whole,
            time.perf_counter() - self.start,
        )

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The minibatches of each window, (length, batch, ...)."""
        problem, seed = self.problem, run_seed(self.run, self.options.independent)
        stream = minibatches(
            problem.examples, self.run.batch_size, problem.order, seed, self.lengths[0]
        )
        for length in self.lengths:
            index = next(stream)[:length].to(self.inputs.device)
            yield self.inputs[index], self.targets[index]

    def _step(self, done: int, x: Tensor, y: Tensor) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.lr * float(self.mult[done])
        self.optimizer.zero_grad()
        loss = self.gradients(x, y)
        if self.initial is None:
            self.initial = float(loss)
        self.optimizer.step()
        if self.problem.constrain is not None:
            self._constrain(self.problem.constrain)
        return loss

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """Set every parameter's gradient; returns the loss."""
        if self.problem.gradient is None:
            loss = self.objective(x, y)
            loss.backward()
            return loss.detach()
        named = dict(self.objective.named_parameters())
        with torch.no_grad():
            grads, loss = given_gradient(self.problem, named, x, y)
        for name, p in named.items():
            p.grad = grads[name].reshape(p.shape) if p.requires_grad and name in grads else None
        return loss.detach()

    def _constrain(self, constrain: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            for p in self.objective.parameters():
                if p.grad is not None:
                    p.copy_(constrain(p))

    def _point(self, total: Tensor, steps: int) -> float:
        if self.problem.record == "full":
            return full_loss(self.objective, self.inputs, self.targets)
        return float(total) / steps

    def _initial(self) -> float:
        assert self.initial is not None  # there was a step
        return self.initial

    def _over(self, curve: list[float]) -> bool:
        if not self.options.early_stop:
            return not np.isfinite(curve[-1])
        return bool(
            certainly_failing(np.array([curve]), np.array([self._initial()]), len(self.lengths))[0]
        )


def _given(objective: Objective) -> list[nn.Parameter]:
    """The parameters that the optimizer is given: all, as a frozen one may be thawed, but those of
    whole numbers.
    """
    return [p for p in objective.parameters() if p.requires_grad or p.is_floating_point()]

"""Train one run by the reference loop, with a look at its parameters and moments at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from betaplane.problems import Problem
from betaplane.replicas import Options, Outcome, Run
from betaplane.replicas.objective import isolated
from betaplane.replicas.plain import PlainTraining


@dataclass(frozen=True)
class Moment:
    """A run just after a step: `gradients` are those of the step, before the weights moved."""

    t: int  # steps taken, from 1
    optimizer: Optimizer
    module: nn.Module
    params: dict[str, Tensor]  # detached, by name; not copied
    gradients: dict[str, Tensor]
    states: dict[str, dict[str, Tensor]]  # exp_avg, exp_avg_sq and so on, by name of the parameter


def follow(problem: Problem, run: Run, look: Callable[[Moment], None], options: Options) -> Outcome:
    """Train a run with a module and a torch optimizer, and call `look` after each step."""
    with isolated(problem):
        training = PlainTraining(problem, run, options)
        module, steps = training.objective.module, iter(range(1, problem.steps + 1))
        named = dict(module.named_parameters())

        def after_step() -> None:
            state = training.optimizer.state
            params = {name: p.detach() for name, p in named.items()}
            gradients = {name: p.grad for name, p in named.items() if p.grad is not None}
            states = {name: dict(state[p]) for name, p in named.items()}
            look(Moment(next(steps), training.optimizer, module, params, gradients, states))

        return training.outcome(after_step)

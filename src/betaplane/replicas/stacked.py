"""Many runs of one problem trained side by side, as one stack of replicas."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from betaplane.errors import BadInput
from betaplane.problems.generators import preserve_generators
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back
from betaplane.replicas.objective import (
    EVALUATED,
    Objective,
    on_its_own,
    run_seed,
    started,
    trained_names,
)
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.replicas.trace import Stack, Step, stack, stackable
from betaplane.replicas.unfinished import Progress, UnfinishedRuns
from betaplane.theory.schedules import multipliers

RECORDING = 10_000  # run-steps that one more recording of the step is worth


def stacked_outcomes(
    problem: Problem, runs: Sequence[Run], options: Options, keeper: UnfinishedRuns | None = None
) -> list[Outcome]:
    """Train all runs at once and return their outcomes in the same order; for problems of which
    that is proved.

    The runs share a rule, a batch size and a seed. A run's outcome does not depend on which others are in the stack,
    to rounding.

    Args:
        problem: what is trained.
        runs: the runs, R >= 1.
        options: how.
        keeper: where the state is saved from time to time, and where it is resumed from; None: nowhere.

    Raises:
        BadInput: the runs have several batch sizes or seeds, or the problem cannot be stacked.
    """
    with on_its_own(problem):
        return Training(problem, runs, options).outcomes(keeper)


def check_alike(runs: Sequence[Run], independent: bool) -> None:
    """Refuse runs that cannot be one stack: of several batch sizes, or of several seeds unless they
    are independent.
    """
    for name in ("batch_size",) if independent else ("batch_size", "seed"):
        values = sorted({getattr(run, name) for run in runs})
        if len(values) != 1:
            raise BadInput(
                f"The runs of a stack have one {name}",
                value=values,
                allowed=f"runs of one {name}",
                where="train_stacked",
                instead="a call of train_stacked for each",
            )


class Training:
    """The loop: windows of steps, a point of every curve after each, diverged replicas dropped as
    they diverge.

    Uses the global generators as its own, so it is made and trained inside `on_its_own`.
    """

    def __init__(self, problem: Problem, runs: Sequence[Run], options: Options) -> None:
        check_alike(runs, options.independent)
        self.problem, self.options = problem, options
        self.runs = list(runs)
        self.alive = np.arange(len(runs))  # which run each replica of the stack is
        self.lengths = windows(problem.steps, options.points)
        self.curves = np.full((len(runs), len(self.lengths)), np.nan, dtype=np.float32)
        self.ended = np.full(len(runs), len(self.lengths))  # points each curve has
        self.inputs, self.targets = (
            problem.inputs.to(options.device),
            problem.targets.to(options.device),
        )
        self.seeds = [run_seed(run, options.independent) for run in runs]
        self.objective, self.stack = self._started()
        self.initial = self._evaluate(self.inputs[:EVALUATED], self.targets[:EVALUATED])
        self.mult = torch.from_numpy(multipliers(problem.schedule, problem.steps, problem.warmup))
        self.step: Step | None = None
        self.recorded = 0  # steps the recording takes at once

    def outcomes(self, keeper: UnfinishedRuns | None = None) -> list[Outcome]:
        """Train to the end, and return what each run showed; the state is saved with the keeper
        from time to time.
        """
        start = time.perf_counter()
        progress = Progress(self, keeper)
        known = progress.resume()
        for point, (length, batch) in enumerate(zip(self.lengths, self.blocks(), strict=False)):
            if point < known:
                continue
            if not len(self.alive):
                break
            loss = self.window(point, length, *batch)
            with np.errstate(over="ignore"):  # a diverged loss may not fit in float32: inf
                self.curves[self.alive, point] = loss
            self._drop(point)
            progress.after(point + 1)
        seconds = (time.perf_counter() - start) / len(self.runs)
        return [
            Outcome(
                float(self.initial[i]),
                self.curves[i, : self.ended[i]].copy(),
                self.ended[i] == len(self.lengths),
                seconds,
            )
            for i in range(len(self.runs))
        ]

    def _started(self) -> tuple[Objective, Stack]:
        """One of the objectives, and the stack of all; leaves the generators as the first step
        finds them.
        """
        options, runs = self.options, self.runs if self.options.independent else self.runs[:1]
        with stackable():
            objectives = [
                started(self.problem, run, options.independent, options.device) for run in runs
            ]
            x, y = (data[: self.runs[0].batch_size] for data in (self.inputs, self.targets))
            trained = trained_names(self.problem, objectives[0], x, y)
            rules, lrs = [run.rule for run in self.runs], [run.lr for run in self.runs]
            return objectives[0], stack(objectives, trained, rules, lrs, options.device)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The minibatches of each window: inputs (length, batch, ...), or (length, R, batch, ...)
        if independent.
        """
        order, n, size = self.problem.order, self.problem.examples, self.runs[0].batch_size
        seeds = self.seeds if self.options.independent else self.seeds[:1]
        streams = [minibatches(n, size, order, seed, self.lengths[0]) for seed in seeds]
        for length in self.lengths:
            index = torch.stack([next(stream)[:length] for stream in streams], dim=1)
            index = (index if self.options.independent else index[:, 0]).to(self.inputs.device)
            yield self.inputs[index], self.targets[index]

    def window(self, point: int, length: int, x: Tensor, y: Tensor) -> np.ndarray:
        """Take `length` steps and return the point of every living curve, (R,)."""
        first = point * self.lengths[0]  # steps taken before
        if self.options.independent:
            x, y = x[:, self.alive], y[:, self.alive]
        lrs = self.stack.lr * self.mult[first : first + length, None].to(self.stack.lr.device)
        lrs = lrs.to(next(iter(self.stack.params.values())).dtype)
        k = self._together(length)
        if self.step is None or k != self.recorded:
            self.recorded = k
            with preserve_generators():
                self.step = Step(
                    self.problem, self.objective, self.runs[0].rule, self.stack, lrs[:k], x[:k], y[:k],
                    shared=not self.options.independent, compiled=self.options.compile,
                )  # fmt: skip
        total = torch.zeros(len(self.stack), dtype=torch.float64, device=x.device)
        with torch.no_grad():
            for i in range(0, length, k):
                total += self.step(self.stack, lrs[i : i + k], x[i : i + k], y[i : i + k])
        if self.problem.record == "full":
            return self._evaluate(self.inputs, self.targets)
        return (total / length).cpu().numpy()

    def _together(self, length: int) -> int:
        """How many steps are compiled as one: more than one where calling costs more than
        computing.
        """
        tiny = sum(p[0].numel() for p in self.stack.params.values()) <= 16
        most = 20 if self.options.compile and tiny else 1
        return max(k for k in range(1, most + 1) if length % k == 0)

    def _evaluate(self, x: Tensor, y: Tensor) -> np.ndarray:
        """The loss of every replica on the examples given, in evaluation mode, (R,)."""
        carried = (self.stack.params, self.stack.buffers, self.stack.constants)

        def loss(*carried: dict) -> Tensor:
            tensors = {name: tensor for tree in carried for name, tensor in tree.items()}
            return functional_call(self.objective, tensors, (x.clone(), y.clone()), strict=True)

        replicas = vmap(loss, in_dims=(0, 0, self.stack.constants_dim), randomness="same")
        with (
            put_back(objective=self.objective),
            preserve_generators(),
            torch.no_grad(),
            stackable(),
        ):
            self.objective.module.eval()
            carried = pytree.tree_map(torch.clone, carried)
            return replicas(*carried).double().expand(len(self.stack)).cpu().numpy()

    def _drop(self, point: int) -> None:
        """Take out the runs that need not go on, once a quarter of the stack is such and a new
        recording pays.
        """
        seen = self.curves[self.alive, : point + 1]
        lost = ~np.isfinite(seen[:, -1])
        if self.options.early_stop:
            lost |= certainly_failing(seen, self.initial[self.alive], len(self.lengths))
        self.ended[self.alive[lost]] = np.minimum(self.ended[self.alive[lost]], point + 1)
        going = self.ended[self.alive] > point + 1
        steps_left = sum(self.lengths[point + 1 :])
        saved = (~going).sum() * steps_left
        if not steps_left or (going.any() and (going.mean() > 0.75 or saved < RECORDING)):
            return
        self.stack = self.stack.select(torch.from_numpy(np.flatnonzero(going)))
        self.alive = self.alive[going]
        self.step = None

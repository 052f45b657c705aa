"""Many runs of one problem trained side by side, as one stack of replicas."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.replicas.trace import Stack, Step, stack, stackable
from betaplane.replicas.unfinished import Keeper, Progress
from betaplane.theory.schedules import multipliers

RECORDING = 10_000  # run-steps that one more recording of the step is worth


def train_stacked(
    problem: Problem, runs: Sequence[Run], options: Options = Options(), keeper: Keeper | None = None
) -> list[Outcome]:
    """Train all runs at once and return their outcomes in the same order.

    The runs share a rule and a batch size, and a seed too unless options.independent. A run's outcome does not
    depend on which others are in the stack, to rounding.

    Args:
        problem: what is trained.
        runs: the runs, R >= 1.
        options: how.
        keeper: where the state is saved from time to time, and where it is resumed from; None: nowhere.

    Raises:
        BadInput: the module cannot be stacked (data-dependent control flow, sparse gradients).
    """
    return Training(problem, runs, options).outcomes(keeper)


def stacked_rate(problem: Problem, runs: Sequence[Run], options: Options) -> float:
    """Run-steps a second, measured on the second half of the problem's steps; the first pays for the recording."""
    training = Training(problem, runs, options)
    halves = training.blocks()
    training.window(0, training.lengths[0], *next(halves))
    start = time.perf_counter()
    training.window(1, training.lengths[1], *next(halves))
    return len(runs) * training.lengths[1] / (time.perf_counter() - start)


def run_seed(run: Run, independent: bool) -> int:
    """The seed of a run's initialisation and order: the run's own, or one mixed with its settings."""
    if not independent:
        return run.seed
    mixed = hashlib.sha256(repr((run.seed, run.rule, run.lr, run.batch_size)).encode()).digest()
    return int.from_bytes(mixed[:4], "little")


class Training:
    """The loop: windows of steps, a point of every curve after each, diverged replicas dropped as they diverge."""

    def __init__(self, problem: Problem, runs: Sequence[Run], options: Options) -> None:
        self.problem, self.options = problem, options
        self.runs = list(runs)
        self.alive = np.arange(len(runs))  # which run each replica of the stack is
        self.lengths = windows(problem.steps, options.points)
        self.curves = np.full((len(runs), len(self.lengths)), np.nan, dtype=np.float32)
        self.ended = np.full(len(runs), len(self.lengths))  # points each curve has
        self.inputs, self.targets = problem.inputs.to(options.device), problem.targets.to(options.device)
        self.seeds = [run_seed(run, options.independent) for run in runs]
        self.stack = self._fresh()
        self.initial = self._evaluate(self.inputs[:1024], self.targets[:1024])
        self.mult = torch.from_numpy(multipliers(problem.schedule, problem.steps, problem.warmup))
        self.step: Step | None = None
        self.recorded = 0  # steps the recording takes at once

    def outcomes(self, keeper: Keeper | None = None) -> list[Outcome]:
        """Train to the end, and return what each run showed; the state is saved with the keeper from time to time."""
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

    def _fresh(self) -> Stack:
        if self.options.independent:
            modules = [self.problem.fresh(seed) for seed in self.seeds]
        else:
            modules = [self.problem.fresh(self.seeds[0])] * len(self.runs)
        return stack(modules, [r.rule for r in self.runs], [r.lr for r in self.runs], self.options.device)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The minibatches of each window: inputs (length, batch, ...), or (length, R, batch, ...) if independent."""
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
            self.step = Step(
                self.problem, self.runs[0].rule, self.stack, lrs[:k], x[:k], y[:k],
                shared=not self.options.independent, compiled=self.options.compile,
            )  # fmt: skip
        total = torch.zeros(len(self.stack), dtype=torch.float64, device=x.device)
        with torch.no_grad():
            for i in range(0, length, k):
                if self.step.random:
                    torch.manual_seed(self.runs[0].seed * 1_000_003 + first + i)
                total += self.step(self.stack, lrs[i : i + k], x[i : i + k], y[i : i + k])
        if self.problem.record == "full":
            return self._evaluate(self.inputs, self.targets)
        return (total / length).cpu().numpy()

    def _together(self, length: int) -> int:
        """How many steps are compiled as one: more than one where calling costs more than computing."""
        tiny = sum(p[0].numel() for p in self.stack.params.values()) <= 16
        most = 20 if self.options.compile and tiny else 1
        return max(k for k in range(1, most + 1) if length % k == 0)

    def _evaluate(self, x: Tensor, y: Tensor) -> np.ndarray:
        """The loss of every replica on the examples given, (R,)."""
        module = self.problem.fresh(0).to(x.device).eval()

        def loss(params: dict, buffers: dict) -> Tensor:
            return self.problem.loss(functional_call(module, (params, dict(buffers)), (x,)), y)

        buffers = {name: b.clone() for name, b in self.stack.buffers.items()}
        with torch.no_grad(), stackable():
            return vmap(loss, randomness="same")(self.stack.params, buffers).double().cpu().numpy()

    def _drop(self, point: int) -> None:
        """Take out the runs that need not go on, once a quarter of the stack is such and a new recording pays."""
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

"""The stacked engine: many runs of one problem, trained together as one stack of replicas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.utils import _pytree as pytree

from betaplane.errors import BadInput
from betaplane.problems.generators import preserve_generators
from betaplane.problems.in_memory import LoaderRows
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back
from betaplane.replicas.gradient_norm import mean_gradient_norm
from betaplane.replicas.held_out_stack import HeldOut
from betaplane.replicas.judge import curve_of, with_record
from betaplane.replicas.objective import (
    INITIAL_LOSS_EXAMPLES,
    Objective,
    analytic_gradient,
    batch_of,
    examples_of,
    fresh_objective,
    run_seed,
    trained_names,
)
from betaplane.replicas.param_groups import Layout, groups_of_runs
from betaplane.replicas.run import Options, Outcome, Run, certainly_failing, windows
from betaplane.replicas.stack import Stack, stack_objectives, stacking_errors
from betaplane.replicas.trace import RecordedStep
from betaplane.replicas.unfinished import Progress, UnfinishedRuns
from betaplane.theory.schedules import multipliers

Tensors = Mapping[str, Tensor]
RECORDING_RUN_STEPS = 10_000  # number of run-steps that take as long as one recording of the step
MAX_COMPILED_STEPS = 20  # that are compiled as one
MAX_TINY_ELEMENTS = 16  # parameters of a model for which several steps are compiled as one


def check_alike(runs: Sequence[Run], independent: bool | Literal["paired"]) -> None:
    """Raise BadInput for runs that cannot be one stack: runs with several batch sizes or variants
    of the problem, or with several seeds unless they are independent.
    """
    names = ("batch_size", "variant", "steps", *(() if independent else ("seed",)))
    alike = {name: [getattr(run, name) for run in runs] for name in names}
    alike["own"] = [tuple(name for name, _ in run.own) for run in runs]
    for name in alike:
        values = [*dict.fromkeys(alike[name])]
        if len(values) != 1:
            raise BadInput(
                f"The runs of a stack have one {name}",
                value=values,
                allowed=f"runs of one {name}",
                where="train_stacked",
                instead=f"one call of train_stacked per {name}",
            )


class Training:
    """The training loop of a stack: after each window of steps, a point of every curve is recorded
    and diverged replicas are dropped.

    It draws from the global generators: create and train it inside `isolated`.
    """

    def __init__(self, problem: Problem, runs: Sequence[Run], options: Options) -> None:
        check_alike(runs, options.independent)
        self.problem, self.options = with_record(problem, options.judge), options
        self.runs = list(runs)
        self.alive = np.arange(len(runs))  # index of the run of each replica in the stack
        self.lengths = windows(problem.steps, options.points)
        self.curves = np.full((len(runs), len(self.lengths)), np.nan, dtype=np.float32)
        self.ended = np.full(len(runs), len(self.lengths))  # number of points of each curve
        self.inputs, self.targets = (t.to(options.device) for t in examples_of(problem))
        self.seeds = [run_seed(run, options.independent) for run in runs]
        self.objective, self.layout, self.stack = self._fresh_stack()
        # the value before training, (R,); of a loader, the loss of the first minibatch
        self.initial = np.empty(0) if problem.data is not None else self._initial()
        self.lr_factors = torch.from_numpy(
            multipliers(problem.schedule, problem.steps, problem.warmup)
        )
        self.held_out = HeldOut(self)
        # by the number of steps per call and the batch size
        self.recorded: dict[tuple[int, int], RecordedStep] = {}

    def outcomes(self, storage: UnfinishedRuns | None = None) -> list[Outcome]:
        """Train to the end and return the outcome of each run; save the state at intervals."""
        start = time.perf_counter()
        # the place in the epochs of a loader is not saved, nor are held-out values
        saves = self.problem.data is None and not self.held_out.measured
        progress = Progress(self, storage if saves else None)
        resumed_points = progress.resume()
        for point, (length, batch) in enumerate(zip(self.lengths, self.blocks(), strict=False)):
            if point < resumed_points:
                continue
            if not len(self.alive):
                break
            loss = self.window(point, length, batch)
            with np.errstate(over="ignore"):  # a diverged loss may overflow float32
                self.curves[self.alive, point] = loss
            self.held_out.measure(point)
            self._drop_ended(point)
            progress.after(point + 1)
        seconds = (time.perf_counter() - start) / len(self.runs)
        return [
            Outcome(
                float(self.initial[i]),
                curve_of(self.curves[i, : self.ended[i]], self.lengths, self.options.judge).copy(),
                self.ended[i] == len(self.lengths),
                seconds,
                self.options.judge,
                held_out=self.held_out.of_run(i),
            )
            for i in range(len(self.runs))
        ]

    def _fresh_stack(self) -> tuple[Objective, Layout, Stack]:
        """One of the objectives, its parameter groups, and the stack of all; the generators are
        left in the state before the first step.
        """
        options, runs = self.options, self.runs if self.options.independent else self.runs[:1]
        with stacking_errors():
            objectives = [
                fresh_objective(self.problem, run, options.independent, options.device)
                for run in runs
            ]
            groups = groups_of_runs(self.problem, objectives, self.runs)
            x, y = (data[: self.runs[0].batch_size] for data in (self.inputs, self.targets))
            trained = trained_names(self.problem, objectives[0], x, y)
            stack = stack_objectives(objectives, trained, groups, options.device)
            return objectives[0], Layout(groups[0]), stack

    def blocks(self) -> Iterator[Iterable[tuple[Tensor, Tensor]]]:
        """The minibatches of each window, as segments of minibatches of one size: inputs
        (steps, batch, ...), or (steps, R, batch, ...) if independent, and targets.

        A segment is requested after the steps of the one before it.
        """
        if self.problem.data is not None:
            yield from self._segments()
            return
        order, n, size = self.problem.order, self.problem.examples, self.runs[0].batch_size
        seeds = self.seeds if self.options.independent else self.seeds[:1]
        streams = [minibatches(n, size, order, seed, self.lengths[0]) for seed in seeds]
        for length in self.lengths:
            index = torch.stack([next(stream)[:length] for stream in streams], dim=1)
            index = (index if self.options.independent else index[:, 0]).to(self.inputs.device)
            yield [(self.inputs[index], self.targets[index])]

    def _segments(self) -> Iterator[Iterable[tuple[Tensor, Tensor]]]:
        loader: Any = self.problem.data
        rows = LoaderRows(loader, self.runs[0].batch_size, self.problem.where)

        def of_window(length: int) -> Iterator[tuple[Tensor, Tensor]]:
            while length:
                index = rows.segment(1 if not len(self.initial) else length)
                length -= len(index)
                index = index.to(self.inputs.device)
                yield self.inputs[index], self.targets[index]

        yield from map(of_window, self.lengths)

    def window(
        self, point: int, length: int, segments: Iterable[tuple[Tensor, Tensor]]
    ) -> np.ndarray:
        """Take `length` steps and return the next point of the curve of every replica, (R,)."""
        first = point * self.lengths[0]  # steps before this window
        total = torch.zeros(len(self.stack), dtype=torch.float64, device=self.inputs.device)
        for x, y in segments:
            if self.options.independent:
                x, y = x[:, self.alive], y[:, self.alive]
            total += self.advance(self._lrs(first, len(x)), x, y)
            first += len(x)
            if not len(self.initial):
                self.initial = total.cpu().numpy().copy()
        if self.problem.record == "full":
            return self._full_value()
        return (total / length).cpu().numpy()

    def _lrs(self, first: int, length: int) -> Tensor:
        """The learning rates of some steps, (length, R) or (length, R, groups)."""
        factors = self.lr_factors[first : first + length].to(self.stack.lr.device)
        factors = factors.reshape(-1, *[1] * self.stack.lr.dim())
        return (self.stack.lr * factors).to(next(iter(self.stack.params.values())).dtype)

    def advance(self, lrs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the steps of a window; return the sums of the losses, float64 (R,).

        Args:
            lrs: (length, R) or (length, R, groups), learning rates.
            x: inputs of the minibatches, (length, batch, ...) or (length, R, batch, ...).
            y: their targets.
        """
        length = len(lrs)
        k = self._steps_per_call(length)
        key = k, y.shape[2 if self.options.independent else 1]
        if key not in self.recorded:
            with preserve_generators():
                self.recorded[key] = RecordedStep(
                    self.problem,
                    self.objective,
                    self.layout,
                    self.stack,
                    lrs[:k],
                    x[:k],
                    y[:k],
                    shared=not self.options.independent,
                    compiled=self.options.compile,
                )
        total = torch.zeros(len(self.stack), dtype=torch.float64, device=x.device)
        with torch.no_grad():
            for i in range(0, length, k):
                total += self.recorded[key](self.stack, lrs[i : i + k], x[i : i + k], y[i : i + k])
        return total

    def _initial(self) -> np.ndarray:
        """The value before training, of every replica, (R,)."""
        if self.options.judge == "gradient-norm":
            return self._full_value()
        first = slice(INITIAL_LOSS_EXAMPLES)
        return self.evaluate(self._loss, self.inputs[first], self.targets[first])

    def _full_value(self) -> np.ndarray:
        """The loss on all examples, or the norm of its gradient, of every replica, (R,)."""
        judge = self.options.judge
        value = self._gradient_norm if judge == "gradient-norm" else self._loss
        return self.evaluate(value, self.inputs, self.targets)

    def _steps_per_call(self, length: int) -> int:
        """The number of steps that are compiled as one: several for tiny models, for which a call
        costs more than its arithmetic.
        """
        tiny = sum(p[0].numel() for p in self.stack.params.values()) <= MAX_TINY_ELEMENTS
        largest = MAX_COMPILED_STEPS if self.options.compile and tiny else 1
        return max(k for k in range(1, largest + 1) if length % k == 0)

    def _loss(
        self, params: Tensors, buffers: Tensors, constants: Tensors, x: Tensor, y: Tensor
    ) -> Tensor:
        """The loss of one replica."""
        batch = batch_of(self.problem, x.clone(), y.clone())
        tensors = {**params, **buffers, **constants}
        return functional_call(self.objective, tensors, (batch,), strict=True)

    def _gradient_norm(
        self, params: Tensors, buffers: Tensors, constants: Tensors, x: Tensor, y: Tensor
    ) -> Tensor:
        """The norm of the gradient of one replica."""

        def gradients(x: Tensor, y: Tensor) -> Tensors:
            if self.problem.gradient is not None:
                return analytic_gradient(self.problem, {**params, **constants}, x, y)[0]
            return grad(self._loss)(params, buffers, constants, x, y)

        return mean_gradient_norm(gradients, x, y)

    def evaluate(self, value: Callable[..., Tensor], x: Tensor, y: Tensor) -> np.ndarray:
        """A value of every replica on the examples, in evaluation mode, (R,)."""
        carried = (self.stack.params, self.stack.buffers, self.stack.constants)
        dims = (0, 0, self.stack.constants_dim, None, None)
        replicas = vmap(value, in_dims=dims, randomness="same")
        unchanged = put_back(objective=self.objective)
        with unchanged, preserve_generators(), torch.no_grad(), stacking_errors():
            self.objective.module.eval()
            carried = pytree.tree_map(torch.clone, carried)
            return replicas(*carried, x, y).double().expand(len(self.stack)).cpu().numpy()

    def _drop_ended(self, point: int) -> None:
        """Remove ended runs from the stack if they are a quarter of it and the steps that this
        saves cost more than a new recording.
        """
        curves = self.curves[self.alive, : point + 1]
        failing = ~np.isfinite(curves[:, -1])
        if self.options.stops_early:
            failing |= certainly_failing(curves, self.initial[self.alive], len(self.lengths))
        self.ended[self.alive[failing]] = np.minimum(self.ended[self.alive[failing]], point + 1)
        unfinished = self.ended[self.alive] > point + 1
        steps_left = sum(self.lengths[point + 1 :])
        saved = (~unfinished).sum() * steps_left
        worthwhile = unfinished.mean() <= 0.75 and saved >= RECORDING_RUN_STEPS
        if not steps_left or (unfinished.any() and not worthwhile):
            return
        self.stack = self.stack.select(torch.from_numpy(np.flatnonzero(unfinished)))
        self.alive = self.alive[unfinished]
        self.recorded.clear()

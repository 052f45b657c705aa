"""The held-out loss or metric of all replicas of a stack, beside the losses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.func import functional_call

from betaplane.errors import BadInput
from betaplane.problems.batch import describe, examples_in, to_device
from betaplane.problems.data_source import finite
from betaplane.problems.generators import preserve_generators
from betaplane.replicas.held_out import measured_windows, measures_held_out
from betaplane.replicas.objective import Objective

if TYPE_CHECKING:
    from betaplane.replicas.stacked import Training

Tensors = Mapping[str, Tensor]


class HeldOut:
    """The values that are measured along a training.

    Args:
        training: the stack.
    """

    def __init__(self, training: Training) -> None:
        self.training, problem = training, training.problem
        windows = len(training.lengths)
        measures = measures_held_out(problem, training.options.judge)
        self.measured = measured_windows(windows) if measures else range(0)
        # (R, points), NaN after the end of a run
        self.values = np.full((len(training.runs), len(self.measured)), np.nan, np.float32)

    def measure(self, window: int) -> None:
        """Measure the replicas after a window, if it is one of the measured ones."""
        if window in self.measured:
            with preserve_generators():
                values = self._mean_values()
            finite_losses = np.isfinite(self.training.curves[self.training.alive, window])
            values = np.where(finite_losses, values, np.nan)
            self.values[self.training.alive, self.measured.index(window)] = values

    def of_run(self, run: int) -> np.ndarray | None:
        """The values of a run, up to its end; None if held-out data are not measured."""
        if not self.measured:
            return None
        ended = self.training.ended[run]
        points = sum(window < ended for window in self.measured)
        values = self.values[run, :points]
        diverged = not np.isfinite(self.training.curves[run, ended - 1])
        return values[:-1] if diverged and ended - 1 in self.measured else values

    def _mean_values(self) -> np.ndarray:
        """The mean of the metric over all held-out examples, of every replica, (R,)."""
        training, problem = self.training, self.training.problem
        objective = _with_metric(training)
        total, count = np.zeros(len(training.alive)), 0
        for batch in finite(problem.validation, problem.batch_size, problem.where):
            x, y = _pair(to_device(batch, training.options.device), problem.where)

            def metric(
                params: Tensors, buffers: Tensors, constants: Tensors, *batch: Tensor
            ) -> Tensor:
                tensors = {**params, **buffers, **constants}
                return functional_call(objective, tensors, ([*batch],), strict=False)

            total += training.evaluate(metric, x, y) * examples_in(batch)
            count += examples_in(batch)
        return total / count


def _pair(batch: Any, where: str) -> tuple[Tensor, Tensor]:
    if isinstance(batch, list) and len(batch) == 2 and all(isinstance(t, Tensor) for t in batch):
        return batch[0], batch[1]
    raise BadInput(
        "The held-out batches are not pairs of tensors", value=describe(batch), where=where
    )


def _with_metric(training: Training) -> Objective:
    """The objective with the metric of its problem in place of the loss."""
    objective, problem = copy.copy(training.objective), training.problem
    if problem.metric is not None:
        objective._modules = dict(objective._modules)
        objective._modules.pop("loss", None)
        objective.loss, objective.form = problem.metric, problem.metric_form
    return objective

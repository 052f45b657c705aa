"""The held-out loss or metric of a run, over all held-out data, in evaluation mode."""

from __future__ import annotations

import torch

from betaplane.errors import BadInput
from betaplane.problems.batch import examples_in, to_device
from betaplane.problems.data_source import finite
from betaplane.problems.problem import Problem
from betaplane.replicas.judge import Judge
from betaplane.replicas.objective import Objective, evaluation

POINTS = 20  # of a curve, at most: each is a pass over the held-out data


def measures_held_out(problem: Problem, judge: Judge) -> bool:
    """Whether held-out data are measured beside what runs are judged by."""
    return problem.validation is not None and judge != "validation"


def measured_windows(windows: int) -> range:
    """The windows after which held-out data are measured: at most `POINTS`, with the last one.

    Example:
        >>> list(measured_windows(3)), list(measured_windows(50))[:3]
        ([0, 1, 2], [1, 4, 7])
    """
    every = -(-windows // POINTS)
    return range((windows - 1) % every, windows, every)


def check_held_out(problem: Problem) -> None:
    """Raise BadInput for a problem without held-out data."""
    if problem.validation is None:
        raise BadInput(
            "The problem has no held-out data",
            allowed="a problem with validation",
            where=problem.where,
            instead="Problem(..., validation=(inputs, targets))",
        )


def held_out_value(problem: Problem, objective: Objective, device: str) -> float:
    """The mean of the metric over all held-out examples; the objective and the generators do not
    change.

    Raises:
        BadInput: there are no held-out data, or they yield no batch.
    """
    check_held_out(problem)
    metric = objective.loss if problem.metric is None else problem.metric
    total, count = 0.0, 0
    with evaluation(objective, 'judge="validation"', 'judge="loss"'), torch.no_grad():
        for batch in finite(problem.validation, problem.batch_size, problem.where):
            batch = to_device(batch, device)
            value = float(problem.metric_form.value_of(metric, objective.module, batch))
            total += value * examples_in(batch)
            count += examples_in(batch)
    if not count:
        raise BadInput(
            "The held-out data yield no batch",
            value=0,
            allowed="at least 1 example",
            where=f"{problem.where}, validation",
        )
    return total / count

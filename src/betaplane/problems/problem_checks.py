"""Check the fields of a problem, before anything is computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from betaplane.errors import BadInput, expect_function, one_of
from betaplane.problems.data_source import check_data, number_of_examples
from betaplane.problems.groups import EXAMPLE
from betaplane.problems.order import ORDERS
from betaplane.theory.schedules import NAMES

if TYPE_CHECKING:
    from betaplane.problems.problem import Problem

# fields that are the user's code
FUNCTIONS = ("module", "loss", "constrain", "gradient", "boundary", "metric", "groups")
EXAMPLES = {
    "module": "module=lambda: torch.nn.Linear(2, 1)",
    "loss": "loss=torch.nn.functional.mse_loss",
    "groups": EXAMPLE,
}


def check_fields(problem: Problem) -> None:
    """Raise BadInput for a problem that cannot be trained."""
    where = problem.where
    _check_functions(problem, where)
    if problem.data is None:
        _check_tensors(problem, where)
    else:
        _check_source(problem, where)
    _check_validation(problem, where)
    _check_batch_size(problem, where)
    _check_numbers(problem, where)
    one_of(ORDERS, where, order=problem.order)
    one_of(NAMES, where, schedule=problem.schedule)
    one_of(("minibatch", "full"), where, record=problem.record)


def _check_batch_size(problem: Problem, where: str) -> None:
    n = math.inf if isinstance(problem.data, DataLoader) else problem.examples or math.inf
    if not (_whole(problem.batch_size) and 1 <= problem.batch_size <= n):
        raise BadInput(
            "The batch size does not fit the data",
            value=problem.batch_size,
            allowed=f"[1, {n}]",
            where=where,
            instead=f"batch_size={min(32, n)}",
        )


def _check_validation(problem: Problem, where: str) -> None:
    data = problem.validation
    if data is None and problem.metric is not None:
        raise BadInput(
            "The metric has no held-out data",
            allowed="validation, if there is a metric",
            where=where,
            instead="validation=(inputs, targets)",
        )
    if isinstance(data, tuple):
        if len(data) != 2 or not all(isinstance(t, Tensor) and t.dim() for t in data):
            raise BadInput(
                "validation is not a pair of tensors",
                value=", ".join(type(part).__name__ for part in data),
                allowed="(inputs, targets), a DataLoader, a Dataset or a function",
                where=where,
                instead="validation=(inputs, targets)",
            )
        if len(data[0]) != len(data[1]) or not len(data[0]):
            raise BadInput(
                "Held-out inputs and targets differ in length, or are empty",
                value=f"{len(data[0])} inputs, {len(data[1])} targets",
                allowed="one target per input",
                where=where,
            )
    elif data is not None:
        check_data(data, where, "validation")


def _check_numbers(problem: Problem, where: str) -> None:
    eps = problem.boundary_eps
    ranges = (
        ("steps", _whole(problem.steps) and problem.steps >= 1, "1, 2, 3, ...", "steps=1000"),
        ("lr", _number(problem.lr) and 0 < problem.lr < math.inf, "(0, inf)", "lr=0.001"),
        ("warmup", _number(problem.warmup) and 0 <= problem.warmup < 1, "[0, 1)", "warmup=0.1"),
        ("boundary_eps", _number(eps) and eps >= 0, "[0, inf]", "boundary_eps=1e-6"),
    )
    for name, holds, allowed, instead in ranges:
        if not holds:
            value = getattr(problem, name)
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=allowed,
                where=where,
                instead=instead,
            )


def _check_functions(problem: Problem, where: str) -> None:
    for name in FUNCTIONS:
        function = getattr(problem, name)
        if name == "module" or function is not None:
            expect_function(function, name, EXAMPLES.get(name, f"{name}=None"), where)


def _check_source(problem: Problem, where: str) -> None:
    """Check data that are not tensors in memory."""
    if problem.inputs is not None or problem.targets is not None:
        raise BadInput(
            "The problem has tensors and data",
            allowed="inputs and targets, or data",
            where=where,
            instead="data=DataLoader(TensorDataset(inputs, targets), batch_size=32)",
        )
    check_data(problem.data, where)
    if number_of_examples(problem.data) == 0:
        raise BadInput("The data set is empty", value=0, allowed="at least 1 example", where=where)
    for name, needed in (("gradient", problem.gradient), ("record", problem.record == "full")):
        if needed:
            raise BadInput(
                f"{name} needs all data as two tensors",
                allowed="inputs and targets",
                where=where,
                instead='record="minibatch"' if name == "record" else "gradient=None",
            )


def _check_tensors(problem: Problem, where: str) -> None:
    for name in ("inputs", "targets"):
        data = getattr(problem, name)
        if not isinstance(data, Tensor) or data.dim() == 0:
            raise BadInput(
                f"{name} is not a tensor of examples",
                value=type(data).__name__,
                allowed="a tensor of shape (N, ...)",
                where=where,
                instead=f"{name}=torch.as_tensor({name})",
            )
        if data.is_floating_point() and not bool(torch.isfinite(data).all()):
            raise BadInput(
                f"{name} contain values that are not finite",
                value=int((~torch.isfinite(data)).sum()),
                allowed="0 NaN or infinite entries",
                where=f"{where}, {name} of shape {tuple(data.shape)}",
                instead=f"{name}=torch.nan_to_num({name})",
            )
    if problem.examples == 0:
        raise BadInput("The data set is empty", value=0, allowed="at least 1 example", where=where)
    if len(problem.targets) != problem.examples:
        raise BadInput(
            "inputs and targets differ in length",
            value=len(problem.targets),
            allowed=f"{problem.examples} targets, one per input",
            where=where,
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

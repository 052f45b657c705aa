"""Does a problem run at all? One forward and one loss, with the shapes in the error."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems.generators import generators_kept, seed_generators
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back

# torch, and us
LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<frozen")


def check(problem: Problem) -> None:
    """Build the module at seed 0, run the first minibatch through it, and raise BadInput unless a
    scalar comes out.

    Example:
        >>> from torch import nn
        >>> check(Problem("empty", nn.Identity, nn.functional.mse_loss, torch.ones(4, 1), torch.ones(4, 1), 2))
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: The module has no parameters to train: got 0; expected at least 1 (problem 'empty').
    """
    with generators_kept(), put_back(**problem.functions):
        seed_generators(0)
        _check(problem, f"problem {problem.name!r}")


def _check(problem: Problem, where: str) -> None:
    module = tried(f"Making the module of {where} failed", problem.make)
    trained = [p for p in module.parameters() if p.requires_grad]
    if not sum(p.numel() for p in trained):
        raise BadInput(
            "The module has no parameters to train", value=0, allowed="at least 1", where=where
        )
    batch = next(minibatches(problem.examples, problem.batch_size, problem.order, seed=0, block=1))[
        0
    ]
    x, y = problem.inputs[batch], problem.targets[batch]
    output = tried(
        f"The module of {where} fails on input of shape {tuple(x.shape)}, {x.dtype}",
        lambda: module(x),
    )
    shapes = f"output of {_shape(output)} and target of {_shape(y)}"
    loss = tried(f"The loss of {where} fails on {shapes}", lambda: problem.loss(output, y))
    _check_loss(loss, f"{where}, with {shapes}")


def _check_loss(loss: object, where: str) -> None:
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise BadInput(
            "The loss is not a scalar",
            value=_shape(loss),
            allowed="one tensor of shape ()",
            where=where,
            instead="loss(output, target).mean()",
        )
    if not loss.requires_grad:
        raise BadInput(
            "The loss does not depend on the parameters",
            allowed="a loss with a gradient",
            where=where,
        )
    if not bool(torch.isfinite(loss)):
        raise BadInput(
            "The loss is not finite before training",
            value=loss.detach().item(),
            allowed="a finite number",
            where=where,
        )


def _shape(value: object) -> str:
    return (
        f"shape {tuple(value.shape)}, {value.dtype}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )


def tried(what: str, act: Callable[[], Any]) -> Any:
    """The act's result; what it raises becomes a BadInput that names type, text and line."""
    try:
        return act()
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(what, where=told(error)) from error


def told(error: BaseException) -> str:
    """An exception as one line: where in the user's own code it was raised, its type and its text."""
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)]
        file, line = (theirs or frames)[-1].filename, (theirs or frames)[-1].lineno
    return (
        f"{file}, line {line}: {type(error).__name__}: {' '.join(str(error).split())}".removesuffix(
            ": "
        )
    )

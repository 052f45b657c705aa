"""Check that a problem runs: one forward pass and one loss; errors name the shapes."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems.batch import describe
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.groups import groups_at_fixed_settings
from betaplane.problems.loss_form import LossForm
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import put_back
from betaplane.problems.user_code import is_user_code


def check(problem: Problem) -> None:
    """Raise BadInput unless the loss of the first minibatch, at seed 0, is a finite scalar with a
    gradient.

    Example:
        >>> from torch import nn
        >>> x = torch.ones(4, 1)
        >>> check(Problem("empty", nn.Identity, nn.functional.mse_loss, x, x, batch_size=2))
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: The module has no parameters to train: got 0; expected ...
    """
    with preserve_generators(), put_back(**problem.functions):
        seed_generators(0)
        _check(problem, f"problem {problem.name!r}")


def _check(problem: Problem, where: str) -> None:
    module = call_user_code(f"Making the module of {where} failed", problem.make)
    trained = [p for p in module.parameters() if p.requires_grad]
    if not sum(p.numel() for p in trained):
        raise BadInput(
            "The module has no parameters to train", value=0, allowed="at least 1", where=where
        )
    if problem.groups is not None:
        what = f"Making the parameter groups of {where} failed"
        call_user_code(what, lambda: groups_at_fixed_settings(problem, module))
    what = f"Reading the data of {where} failed"
    batch = call_user_code(what, lambda: next(problem.batches(problem.batch_size, seed=0)))
    if problem.form is LossForm.OUTPUT and problem.data is None:
        x, y = batch
        _check_pair(problem, module, x, y, where)
        return
    shown = describe(batch)
    loss = call_user_code(
        f"The loss of {where} fails on a minibatch ({shown})",
        lambda: problem.loss_of(module, batch),
    )
    _check_loss(loss, f"{where}, with a minibatch ({shown})")


def _check_pair(problem: Problem, module: nn.Module, x: Tensor, y: Tensor, where: str) -> None:
    """Check module and loss apart, so that an error names the shapes at which it occurred."""
    assert problem.loss is not None
    output = call_user_code(
        f"The module of {where} fails on input of shape {tuple(x.shape)}, {x.dtype}",
        lambda: module(x),
    )
    shapes = f"output of {_shape(output)} and target of {_shape(y)}"
    compute = problem.loss
    loss = call_user_code(f"The loss of {where} fails on {shapes}", lambda: compute(output, y))
    _check_loss(loss, f"{where}, with {shapes}")
    _check_broadcast(problem, output, y, loss, where)


def _check_broadcast(problem: Problem, output: object, y: Tensor, loss: Tensor, where: str) -> None:
    """Raise BadInput if a target of shape (B,) is broadcast against an output of shape (B, 1)."""
    if not isinstance(output, Tensor) or not _is_broadcast(problem, output, y, loss):
        return
    shape = ", ".join(map(str, (-1, *output.shape[1:])))
    raise BadInput(
        "The target is broadcast against the output: every output is compared with every target",
        value=f"output {tuple(output.shape)}, target {tuple(y.shape)}",
        allowed="equal shapes",
        where=where,
        instead=f"targets=targets.reshape({shape})",
    )


def _is_broadcast(problem: Problem, output: Tensor, y: Tensor, loss: Tensor) -> bool:
    """Whether the loss is that of all pairs, and not that of as many outputs and targets."""
    if output.numel() != y.numel() or output.shape == y.shape or len(y) == 1:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of broadcasting
            return _equals_all_pairs(problem, output.detach(), y, loss)
    except Exception:  # the loss needs the shapes that it was given
        return False


def _equals_all_pairs(problem: Problem, output: Tensor, y: Tensor, loss: Tensor) -> bool:
    both = torch.broadcast_tensors(output, y)
    assert problem.loss is not None
    seed_generators(0)
    pairs = problem.loss(*both)
    seed_generators(0)
    aligned = problem.loss(output.reshape(y.shape), y)
    return torch.allclose(pairs, loss) and not torch.allclose(aligned, loss)


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


def call_user_code(what: str, function: Callable[[], Any]) -> Any:
    """Call a function of the user; an exception becomes a BadInput with its type, text and line.

    Args:
        what: what failed if it raises, as the start of a sentence.
        function: the function, without arguments.
    """
    try:
        return function()
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(what, where=error_line(error)) from error


def error_line(error: BaseException) -> str:
    """An exception as one line: file and line of the user's own code, its type and its text."""
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        user_frames = [frame for frame in frames if is_user_code(frame.filename)]
        last = (user_frames or frames)[-1]
        file, line = last.filename, last.lineno
    text = " ".join(str(error).split())
    return f"{file}, line {line}: {type(error).__name__}: {text}".removesuffix(": ")

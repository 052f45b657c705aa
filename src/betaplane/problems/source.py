"""Convert the argument of a caller to a problem: a reference, a problem, a trainer, a function."""

from __future__ import annotations

import inspect

from torch import nn

from betaplane.errors import BadInput
from betaplane.problems.commands.as_trainer import from_command
from betaplane.problems.commands.command import Command
from betaplane.problems.load import load
from betaplane.problems.problem import Problem, Trainer

# what stands for a problem: itself, or a reference that `load` takes
Source = str | Problem | Trainer | Command
ALLOWED = (
    "a Problem, a Trainer, a Command, a function train(settings, seed) -> losses, "
    'or a reference such as "digits"'
)


def as_problem(source: object) -> Problem | Trainer:
    """The problem or trainer that `source` stands for.

    Args:
        source: a Problem or a Trainer, returned unchanged; a reference that `load` takes ("digits",
            "file.py:name"); or a Command or a function train(settings, seed) -> losses, which
            becomes a Trainer with its name.

    Raises:
        BadInput: it is something else.

    Example:
        >>> def train(settings, seed):
        ...     return [1.0, 0.5]
        >>> as_problem(train).name
        'train'
        >>> as_problem(nn.Linear(1, 1))
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: A module is not a problem: got 'Linear'; expected a Problem, ...
    """
    if isinstance(source, (Problem, Trainer)):
        return source
    if isinstance(source, Command):
        return from_command(source)
    if isinstance(source, str):
        return load(source)
    if isinstance(source, nn.Module) or (
        isinstance(source, type) and issubclass(source, nn.Module)
    ):
        name = source.__name__ if isinstance(source, type) else type(source).__name__
        raise BadInput(
            "A module is not a problem",
            value=name,
            allowed=ALLOWED,
            where="source",
            instead=f'Problem("mine", lambda: {name}(...), loss, inputs, targets)',
        )
    if inspect.isroutine(source) and len(inspect.signature(source).parameters) == 2:
        return Trainer(source.__name__, source)
    raise BadInput(
        "The source is not a problem",
        value=getattr(source, "__name__", source),
        allowed=ALLOWED,
        where="source",
        instead='"digits"',
    )

"""What a rule holds of each parameter: the tensors its next step reads, counted by their shape."""

from __future__ import annotations

from typing import NamedTuple

import torch

from betaplane.rules._rule import Rule


class StateSize(NamedTuple):
    """The size of a rule's state for one matrix."""

    tensors: int  # like x
    rest: float  # other numbers a parameter, >= 0: of rows, columns, blocks


def held(rule: Rule, rows: int = 1024, columns: int = 1024) -> StateSize:
    """Count what `rule.init` makes for a matrix.

    Single numbers, as the step count, are left out: they are a few bytes a tensor, however large.

    Args:
        rule: with plain numbers as hyperparameters.
        rows: of the matrix, >= 1.
        columns: of the matrix, >= 1.

    Returns:
        How many fields are like the matrix, and how many numbers a parameter the others have.

    Example:
        >>> from betaplane.rules import SGD, Adafactor, AdamMini
        >>> held(AdamMini(), 100, 50)  # a mean of squares a row
        StateSize(tensors=1, rest=0.02)
        >>> held(Adafactor(momentum=True)).tensors, held(SGD()).tensors, held(SGD(momentum=0.9)).tensors
        (1, 0, 1)
    """
    # torch's meta device would save memory, and takes a second to load
    x = torch.empty(rows, columns)
    fresh = rule.init(x)
    like = [value for value in fresh if value.shape == x.shape]
    rest = sum(value.numel() for value in fresh if value.dim() and value.shape != x.shape)
    return StateSize(len(like), rest / x.numel())

"""The size of a rule's state: tensors like the parameter, and further elements per parameter."""

from __future__ import annotations

from typing import NamedTuple

import torch

from betaplane.rules._rule import Rule


class StateSize(NamedTuple):
    """The size of a rule's state for one matrix."""

    tensors: int  # like x
    rest: float  # further elements per parameter, >= 0: of rows, columns, blocks


def state_size(rule: Rule, rows: int = 1024, columns: int = 1024) -> StateSize:
    """Count the state that `rule.init` returns for a matrix.

    Scalars such as the step count are not counted: they are a few bytes per tensor of any size.

    Args:
        rule: a rule with floats as hyperparameters.
        rows: number of rows of the matrix, >= 1.
        columns: number of columns of the matrix, >= 1.

    Returns:
        The number of fields like the matrix, and the elements per parameter of the others.

    Example:
        >>> from betaplane.rules import SGD, Adafactor, AdamMini
        >>> state_size(AdamMini(), 100, 50)  # one mean of squares per row
        StateSize(tensors=1, rest=0.02)
        >>> rules = (Adafactor(momentum=True), SGD(), SGD(momentum=0.9))
        >>> [state_size(rule).tensors for rule in rules]
        [1, 0, 1]
    """
    # torch's meta device would need no memory, but takes a second to load
    x = torch.empty(rows, columns)
    state = rule.init(x)
    tensors = sum(field.shape == x.shape for field in state)
    rest = sum(field.numel() for field in state if field.dim() and field.shape != x.shape)
    return StateSize(tensors, rest / x.numel())

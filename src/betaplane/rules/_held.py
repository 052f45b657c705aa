"""What a rule holds of each parameter: the tensors its next step reads, counted by their shape."""

from __future__ import annotations

from typing import NamedTuple

import torch

from betaplane.rules._rule import Rule, State


class Held(NamedTuple):
    """The size of a rule's state for one matrix."""

    tensors: int  # like x
    rest: float  # other numbers a parameter, >= 0: of rows, columns, blocks


def held(rule: Rule, rows: int = 1024, columns: int = 1024) -> Held:
    """Count what `rule.init` makes for a matrix.

    Single numbers, as the step count, are left out: they are a few bytes a tensor, however large. So is a field that
    the step does not read at these hyperparameters, as an optimizer need not keep it: the momentum buffer of SGD and
    RMSprop at momentum 0.

    Args:
        rule: with plain numbers as hyperparameters.
        rows: of the matrix, >= 1.
        columns: of the matrix, >= 1.

    Returns:
        How many fields are like the matrix, and how many numbers a parameter the others have.

    Example:
        >>> from betaplane.rules import SGD, Adafactor, AdamMini
        >>> held(AdamMini(), 100, 50)  # a mean of squares a row
        Held(tensors=1, rest=0.02)
        >>> held(Adafactor(momentum=True)).tensors, held(SGD()).tensors, held(SGD(momentum=0.9)).tensors
        (1, 0, 1)
    """
    x = torch.empty(rows, columns)  # torch's meta device would save memory, and takes a second to load
    fresh = rule.init(x)
    kept = [getattr(fresh, name) for name in read(rule, rows)]
    like = [value for value in kept if value.shape == x.shape]
    rest = sum(value.numel() for value in kept if value.dim() and value.shape != x.shape)
    return Held(len(like), rest / x.numel())


def read(rule: Rule, rows: int = 2) -> tuple[str, ...]:
    """The fields of a rule's state on which its step depends.

    Example:
        >>> from betaplane.rules import SGD
        >>> read(SGD()), read(SGD(momentum=0.9))
        (('t',), ('t', 'b'))
    """
    x, g = torch.ones(rows, 2, dtype=torch.float64), torch.full((rows, 2), 0.5, dtype=torch.float64)
    x, s = rule.step(x, g, rule.init(x), 0.1)  # some rules read no state in their first step
    after = rule.step(x, -g, s, 0.1)
    others = {name: rule.step(x, -g, s._replace(**{name: getattr(s, name) + 1.0}), 0.1) for name in s._fields}
    return tuple(name for name, other in others.items() if not _equal(after, other))


def _equal(one: tuple[torch.Tensor, State], other: tuple[torch.Tensor, State]) -> bool:
    return all(torch.equal(a, b) for a, b in zip((one[0], *one[1]), (other[0], *other[1]), strict=True))

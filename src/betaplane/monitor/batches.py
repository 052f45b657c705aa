"""Batches: the indices of the examples of the last steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from torch import Tensor

STEPS_REMEMBERED = 64  # as many as the losses that a detector looks back on


class Batches:
    """The indices of the examples of the last 64 steps, as they were given.

    Example:
        >>> batches = Batches()
        >>> batches.add(7, [3, 1, 4])
        >>> batches.add(7, [1])  # a second micro-batch of the same step
        >>> batches.at(7), batches.at(8)
        ((3, 1, 4, 1), ())
    """

    def __init__(self) -> None:
        self.steps: deque[tuple[int, Any]] = deque(maxlen=STEPS_REMEMBERED)

    def add(self, step: int, indices: Iterable[Any] | Tensor) -> None:
        """Add the examples of a step; a tensor is copied, and read only if it is asked for."""
        is_tensor = isinstance(indices, Tensor)
        self.steps.append((step, indices.detach().clone() if is_tensor else tuple(indices)))

    def at(self, step: int) -> tuple[Any, ...]:
        """The examples of a step; empty if none were given, or long ago."""
        return tuple(
            index
            for given, indices in self.steps
            if given == step
            for index in (indices.flatten().tolist() if isinstance(indices, Tensor) else indices)
        )

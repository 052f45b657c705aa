"""The last steps of a coordinate sample: its gradients, and the moments they started from."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues


class RecordedSteps(NamedTuple):
    """Consecutive steps of one tensor's sample, from which its moments can be computed again."""

    g: Tensor  # gradients of K consecutive steps, (K, n), gradient units
    m: Tensor  # first moment before them, (n,)
    v: Tensor  # second moment before them, (n,)
    t: float  # steps that m and v are of
    numbers: StepValues


class RingBuffer:
    """Keeps the gradients of the last `length` consecutive steps of a sample; a missed step starts
    it anew.

    Args:
        length: steps kept, >= 2.

    Example:
        >>> ring = RingBuffer(length=2)
        >>> start = (torch.zeros(1), torch.zeros(1), 0.0)
        >>> for step in (1, 2, 3):
        ...     ring.keep(step, torch.full((1,), float(step)), start, StepValues(0.1, 0.9, 0.5, 0.0))
        >>> past = ring.past()
        >>> past.g.tolist(), past.t, round(past.v.item(), 4)
        ([[2.0], [3.0]], 1.0, 0.5)
    """

    def __init__(self, length: int) -> None:
        self.gradients: deque[Tensor] = deque()
        self.length, self.last = length, 0

    def keep(
        self, step: int, g: Tensor, start: tuple[Tensor, Tensor, float], numbers: StepValues
    ) -> None:
        """Add a step's gradients; `start` is (m, v, t) before it, and is only used where the ring
        starts anew.
        """
        if not self.goes_on(step, numbers):
            self.gradients.clear()
            self.m, self.v, self.t = start
        elif len(self.gradients) == self.length:
            self._forget()
        self.gradients.append(g)
        self.last, self.numbers = step, numbers

    def goes_on(self, step: int, numbers: StepValues) -> bool:
        """Whether a step follows what is kept, with the same betas."""
        return step == self.last + 1 and bool(self.gradients) and numbers[1:3] == self.numbers[1:3]

    @property
    def full(self) -> bool:
        """Whether it keeps as many steps as it can."""
        return len(self.gradients) == self.length

    def past(self) -> RecordedSteps | None:
        """What is kept; None before the first step."""
        if not self.gradients:
            return None
        return RecordedSteps(
            torch.stack(tuple(self.gradients)), self.m, self.v, self.t, self.numbers
        )

    def _forget(self) -> None:
        """Let the oldest gradients go into the moments."""
        g, (_, beta1, beta2, _) = self.gradients.popleft(), self.numbers
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g.square()
        self.t += 1

"""Ring buffer of one tensor's last gradients, with the moments before them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues

Moments = tuple[Tensor, Tensor, float]  # m, v, and the step count t


class RecordedSteps(NamedTuple):
    """Consecutive steps of one tensor's sample, from which its moments can be recomputed."""

    g: Tensor  # gradients of K consecutive steps, (K, n), gradient units
    m: Tensor  # first moment before them, (n,)
    v: Tensor  # second moment before them, (n,)
    t: float  # step count of m and v
    values: StepValues


class RingBuffer:
    """The gradients of the last `length` consecutive steps of a sample.

    A missed step restarts it.

    Args:
        length: maximum number of steps, >= 2.

    Example:
        >>> ring = RingBuffer(length=2)
        >>> start = (torch.zeros(1), torch.zeros(1), 0.0)
        >>> for step in (1, 2, 3):
        ...     ring.append(step, torch.full((1,), float(step)), start, StepValues(0.1, 0.9, 0.5, 0.0))
        >>> recorded = ring.recorded()
        >>> recorded.g.tolist(), recorded.t, round(recorded.v.item(), 4)
        ([[2.0], [3.0]], 1.0, 0.5)
    """

    def __init__(self, length: int) -> None:
        self.gradients: deque[Tensor] = deque()
        self.length = length
        self.last_step = 0

    def append(self, step: int, g: Tensor, start: Moments, values: StepValues) -> None:
        """Add a step's gradients; `start` holds the moments before it, used only by a restart."""
        if not self.continues(step, values):
            self.gradients.clear()
            self.m, self.v, self.t = start
        elif len(self.gradients) == self.length:
            self._drop_oldest()
        self.gradients.append(g)
        self.last_step = step
        self.values = values

    def continues(self, step: int, values: StepValues) -> bool:
        """Whether a step directly follows the recorded ones, with the same betas."""
        consecutive = step == self.last_step + 1 and bool(self.gradients)
        return consecutive and values[1:3] == self.values[1:3]

    @property
    def moments(self) -> Moments:
        """The moments before the recorded steps."""
        return self.m, self.v, self.t

    @property
    def full(self) -> bool:
        """Whether the maximum number of steps is recorded."""
        return len(self.gradients) == self.length

    def recorded(self) -> RecordedSteps | None:
        """The recorded steps; None before the first one."""
        if not self.gradients:
            return None
        return RecordedSteps(
            torch.stack(tuple(self.gradients)), self.m, self.v, self.t, self.values
        )

    def _drop_oldest(self) -> None:
        """Apply the oldest gradients to the moments, and remove them."""
        g = self.gradients.popleft()
        _, beta1, beta2, _ = self.values
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g.square()
        self.t += 1

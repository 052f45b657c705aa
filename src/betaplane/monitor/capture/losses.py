"""Losses on their way into the history: at once, or from time to time where that would wait for
others.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from numbers import Real
from typing import Any
from weakref import WeakMethod

from torch import Tensor

from betaplane.errors import BadInput
from betaplane.monitor.capture.distributed import RankGroup

Loss = float | Tensor


class Losses:
    """Takes the loss of each step, and hands it on: from a device, and from several processes, at
    readings only.

    Args:
        ranks: the processes; where they go together, what is handed on is their mean.
        give: give(step, loss).

    Example:
        >>> losses = Losses(RankGroup([], every=10), lambda step, loss: print(step, loss))
        >>> losses.take(1, 0.5)
        1 0.5
    """

    def __init__(self, ranks: RankGroup, give: Callable[[int, float], None]) -> None:
        self.ranks, self.give, self.last = ranks, give, 0
        self.waiting: dict[int, Loss] = {}
        # a run may end without a word
        self._exit = atexit.register(partial(_call, WeakMethod(self.end)))

    def take(self, step: int, loss: Loss) -> None:
        """Take a step's loss, a number or a tensor of one.

        Raises:
            BadInput: it is neither.
        """
        if not is_loss(loss):
            got = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else loss
            allowed = "a number, or a tensor of one"
            raise BadInput(
                "A loss is no number",
                value=got,
                allowed=allowed,
                where="loss",
                instead="loss.mean()",
            )
        if isinstance(loss, Tensor):
            loss = loss.detach().clone() if loss.device.type != "cpu" else loss.item()
        self.waiting[step], self.last = loss, step
        if self.ranks.size == 1 and not isinstance(loss, Tensor):
            self.hand_on()

    def hand_on(self) -> None:
        """Give what waits."""
        for step, loss in self.waiting.items():
            self.give(step, float(loss))
        self.waiting = {}

    def end(self) -> None:
        """Give what waits for the last time, but for what other processes have a part in."""
        atexit.unregister(self._exit)
        if not self.ranks.together:
            self.hand_on()

    def agree(self, steps: range, votes: list[bool], device: Any) -> list[bool]:
        """Hand on the mean losses of some steps; and whether no process votes against something.

        Args:
            steps: the same on every process.
            votes: whether this one is against; as many on every process.
            device: where the processes exchange numbers.
        """
        mine = [float(self.waiting.get(step, math.nan)) for step in steps]
        has = [float(step in self.waiting) for step in steps]
        told = self.ranks.sums(
            [*votes, *has, *(each if n else 0.0 for each, n in zip(mine, has, strict=True))], device
        )
        counts, sums = told[len(votes) : -len(steps)], told[-len(steps) :]
        self.waiting = {
            step: each / n for step, each, n in zip(steps, sums, counts, strict=True) if n
        }
        self.hand_on()
        return [against == 0 for against in told[: len(votes)]]


def _call(end: WeakMethod[Callable[[], None]]) -> None:
    """Call a method of what may be gone, where no one is left to be told that it failed."""
    with suppress(Exception):
        if method := end():
            method()


def is_loss(value: Any) -> bool:
    """Whether something is one real number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number or (isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex())

"""Losses given by the training loop, held until they can be read without waiting."""

from __future__ import annotations

import atexit
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
    """Collect the loss of each step and pass it on.

    A number is passed on immediately. A loss on a device, or of several ranks, is passed on at the
    next reading, so that no step waits for it.

    Args:
        ranks: the ranks; if they use collectives, their mean loss is passed on.
        receive: receive(step, loss).

    Example:
        >>> losses = Losses(RankGroup([], every=10), lambda step, loss: print(step, loss))
        >>> losses.take(1, 0.5)
        1 0.5
    """

    def __init__(self, ranks: RankGroup, receive: Callable[[int, float], None]) -> None:
        self.ranks = ranks
        self.receive = receive
        self.last_step = 0
        self.pending: dict[int, Loss] = {}
        # a run may end without calling close()
        self._exit = atexit.register(partial(_call, WeakMethod(self.finish)))

    def take(self, step: int, loss: Loss) -> None:
        """Take the loss of a step, a number or a tensor of one element.

        Raises:
            BadInput: loss is neither.
        """
        if not is_loss(loss):
            raise BadInput(
                "A loss is a single number",
                value=f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else loss,
                allowed="a number, or a tensor of one element",
                where="loss",
                instead="loss.mean()",
            )
        if isinstance(loss, Tensor):
            loss = loss.detach().clone() if loss.device.type != "cpu" else loss.item()
        self.pending[step] = loss
        self.last_step = step
        if self.ranks.size == 1 and not isinstance(loss, Tensor):
            self.flush()

    def flush(self) -> None:
        """Pass on all pending losses."""
        for step, loss in self.pending.items():
            self.receive(step, float(loss))
        self.pending = {}

    def finish(self) -> None:
        """Pass on the last losses, unless other ranks would have to contribute."""
        atexit.unregister(self._exit)
        if not self.ranks.collective:
            self.flush()

    def exchange(self, steps: range, objections: list[bool], device: Any) -> list[bool]:
        """Pass on the mean losses of some steps; and return what no rank objects to.

        Args:
            steps: the same on every rank.
            objections: whether this rank objects; the same number on every rank.
            device: the device of the exchange.
        """
        has_loss = [float(step in self.pending) for step in steps]
        values = [float(self.pending[step]) if step in self.pending else 0.0 for step in steps]
        sums = self.ranks.sum([*objections, *has_loss, *values], device)
        objectors = sums[: len(objections)]
        counts = sums[len(objections) : -len(steps)]
        totals = sums[-len(steps) :]
        self.pending = {
            step: total / count
            for step, total, count in zip(steps, totals, counts, strict=True)
            if count
        }
        self.flush()
        return [count == 0 for count in objectors]


def _call(finish: WeakMethod[Callable[[], None]]) -> None:
    """Call a weakly referenced method at exit; errors are ignored."""
    with suppress(Exception):
        if method := finish():
            method()


def is_loss(value: Any) -> bool:
    """Whether a value is one real number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number or (isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex())

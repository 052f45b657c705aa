"""Reads every tensor around a step: samples before it, samples after it, and all quantities into
the history.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from warnings import warn

from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import held, named, numbers, warmed
from betaplane.monitor.capture.distributed import RankGroup, sharded
from betaplane.monitor.capture.step_sample import PreStepSample, kept, looked
from betaplane.monitor.gradient_recorder import Watched
from betaplane.monitor.history import History, Rows
from betaplane.monitor.quantities.batched import TensorSample, sweep

COORDINATES = 4096  # of a tensor that a reading looks at, at most
FEWEST = 64  # at least
TOGETHER = 32_768  # of all tensors, in between


class Reader:
    """Takes readings.

    Args:
        optimizer: what is watched.
        names: of parameters that the optimizer has no names of.
        ranks: the processes.
        history: takes what is read.
        told: takes the same as rows.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        names: Mapping[Tensor, str] | None,
        ranks: RankGroup,
        history: History,
        told: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self.optimizer, self.names, self.ranks, self.history, self.told = (
            optimizer,
            names,
            ranks,
            history,
            told,
        )
        tensors = sum(len(group["params"]) for group in optimizer.param_groups)
        self.coordinates = min(COORDINATES, max(FEWEST, TOGETHER // max(1, tensors)))
        self._kept: dict[str, PreStepSample] = {}
        self._warned = False

    def watched(self) -> Iterator[Watched]:
        """The parameters that have a gradient; of one that is held in parts, another process may
        have it.
        """
        for name, p, group in named(self.optimizer, self.names):
            elsewhere = self.ranks.together and sharded(p)
            if p.grad is not None and p.grad.is_sparse:
                self._leave_out(f"gradients are sparse: {name}")
            elif p.numel() and (elsewhere or p.grad is not None):
                yield name, p, group

    def keep(self) -> None:
        """Before the step: samples of what it overwrites."""
        self._kept = {
            name: kept(self.optimizer, p, group, self.coordinates, self.ranks)
            for name, p, group in self.watched()
        }

    def read(self, by: float) -> None:
        """After the step: every quantity of every tensor that was stepped.

        Args:
            by: what the step has multiplied the gradients by.
        """
        history, squares, taken = self.history, 0.0, []
        for name, p, group in named(self.optimizer, self.names):
            found = self._taken(name, p, group, by)
            if found is not None:
                taken.append(found)
        for reading in sweep(history.step, taken):
            history.take(reading)
            squares += reading.g_rms**2 * math.prod(reading.shape)
        if now := history.now():
            history.read += 1
            self.told([each._asdict() for each in now])
            history.norms.append((history.step, math.sqrt(squares)))

    def _taken(
        self, name: str, p: Tensor, group: Mapping[str, Any], by: float
    ) -> TensorSample | None:
        """A tensor's samples; None where it was not stepped, or its moments cannot be read."""
        old = self._kept.get(name)
        if old is None:
            return None
        has = held(self.optimizer, p, group)
        if not has.readable and self.optimizer.state.get(p):
            self._leave_out(f"moments it cannot read: {name} ({has.kind})")
        now = numbers(group)
        look = looked(p, old, has, (now.beta1, now.beta2), self.coordinates, self.ranks)
        if not look.stepped:
            return None
        now = warmed(now, self.optimizer, look.t)
        before = look.before._replace(g=look.before.g * by) if by != 1 else look.before
        if look.before.t == 0 and before.x is not None and not bool(before.x.any()):
            self.history.zero.add(name)
        if before.rows is not None:
            self.history.rows.setdefault(name, Rows(before.rows)).look(before.rows)
        return TensorSample(name, tuple(p.shape), now, before, look.x, look.m, look.v, look.t)

    def _leave_out(self, whose: str) -> None:
        """Tell once that there are tensors that nothing here can read."""
        if not self._warned:
            self._warned = True
            warn(f"watch leaves out tensors whose {whose}, and any like it", stacklevel=2)

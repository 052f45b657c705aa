"""Keeps the last steps' gradients of a few coordinates of every tensor, and how they turn from step
to step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import held, numbers
from betaplane.monitor.capture.distributed import RankGroup, sharded
from betaplane.monitor.capture.step_sample import gradient, sample
from betaplane.monitor.history import History, Swing
from betaplane.monitor.quantities.formulas import cosine
from betaplane.monitor.recorders.ring_buffer import RingBuffer

SAMPLE = 64  # of a tensor
STEPS = 64

Watched = tuple[str, Tensor, Mapping[str, Any]]  # a parameter's name, the parameter, its group
Start = tuple[Tensor, Tensor, float]


class GradientRecorder:
    """Fills the history's rings.

    Args:
        optimizer: what is watched.
        ranks: the processes.
        history: where the rings are.
    """

    def __init__(self, optimizer: Optimizer, ranks: RankGroup, history: History) -> None:
        self.optimizer, self.ranks, self.history = optimizer, ranks, history
        self.now: list[Tensor] = []
        self.last, self.last_step = torch.zeros(0), -1

    def keep(self, watched: list[Watched]) -> None:
        """Put a step's gradients into the rings, and correlate them with the last step's."""
        history, parts = (
            self.history,
            self._joined(watched, [self._parts(*each) for each in watched]),
        )
        for (name, _, group), (g, *start) in zip(watched, parts, strict=True):
            ring = history.rings.setdefault(name, RingBuffer(STEPS))
            ring.keep(
                history.step,
                g,
                _start(g, start) if start else (ring.m, ring.v, ring.t),
                numbers(group),
            )
        self.now = [g for g, *_ in parts]
        flat = torch.cat(self.now) if self.now else torch.zeros(0)
        if self.last_step == history.step - 1 and self.last.shape == flat.shape:
            history.swings.append(Swing(history.step, cosine(flat, self.last), float(flat.norm())))
        self.last, self.last_step = flat, history.step

    def multiply(self, by: float) -> None:
        """Take in what the step has multiplied the gradients by."""
        for g in self.now if by != 1 else []:
            g.mul_(by)
        self.now = []

    def _parts(self, name: str, p: Tensor, group: Mapping[str, Any]) -> list[Tensor]:
        """A sample of the gradient; and of m, v and t, where the ring starts anew."""
        g = gradient(self.optimizer, p, group, SAMPLE, self.ranks).float()
        ring = self.history.rings.get(name)
        if ring is not None and ring.goes_on(self.history.step, numbers(group)):
            return [g]
        has = held(self.optimizer, p, group)
        m, v = (sample(each, p, SAMPLE, self.ranks).float().clone() for each in (has.m, has.v))
        return [g, m, v, torch.tensor([has.t], device=p.device)]

    def _joined(self, watched: list[Watched], parts: list[list[Tensor]]) -> list[list[Tensor]]:
        """The samples, put together where processes hold parts of a tensor."""
        places = [i for i, (_, p, _) in enumerate(watched) if self.ranks.together and sharded(p)]
        if places:
            whole = iter(self.ranks.joined([each for i in places for each in parts[i]]))
            for i in places:
                parts[i] = [next(whole) for _ in parts[i]]
        return parts


def _start(g: Tensor, start: list[Tensor]) -> Start:
    """The moments that a ring starts from; zeros where there are none that can be read."""
    m, v, t = start
    if len(m) != len(g) or len(v) != len(g):
        return torch.zeros_like(g), torch.zeros_like(g), 0.0
    return m, v, float(t.max())

"""Recorder of the last steps' gradients of a few elements per tensor.

It is used if the moments cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import moment_state, step_values
from betaplane.monitor.capture.distributed import RankGroup, is_sharded
from betaplane.monitor.capture.step_sample import sample_gradient, sample_tensor
from betaplane.monitor.history import GradientCorrelation, History
from betaplane.monitor.quantities.formulas import cosine
from betaplane.monitor.recorders.ring_buffer import Moments, RingBuffer
from betaplane.tensors.param_names import NamedParameter

SAMPLE_ELEMENTS = 64  # per tensor
RECORDED_STEPS = 64


class GradientRecorder:
    """Fill the history's recordings from gradients.

    Args:
        optimizer: owns the parameters.
        ranks: the ranks.
        history: owns the recordings.
    """

    def __init__(self, optimizer: Optimizer, ranks: RankGroup, history: History) -> None:
        self.optimizer = optimizer
        self.ranks = ranks
        self.history = history
        self.unscaled: list[Tensor] = []  # gradients of the current step, before it clips them
        self.last_gradient = torch.zeros(0)
        self.last_step = -1

    def record(self, parameters: list[NamedParameter]) -> None:
        """Record a step's gradients, and their correlation with those of the step before."""
        history = self.history
        samples = self._gather(parameters, [self._samples(*named) for named in parameters])
        for (name, _, group), (g, *start) in zip(parameters, samples, strict=True):
            ring = history.recordings.get(name)
            if not isinstance(ring, RingBuffer):
                ring = history.recordings[name] = RingBuffer(RECORDED_STEPS)
            moments = _start(g, start) if start else ring.moments
            ring.append(history.step, g, moments, step_values(group))
        self.unscaled = [g for g, *_ in samples]
        flat = torch.cat(self.unscaled) if self.unscaled else torch.zeros(0)
        if self.last_step == history.step - 1 and self.last_gradient.shape == flat.shape:
            correlation = cosine(flat, self.last_gradient)
            history.correlations.append(
                GradientCorrelation(history.step, correlation, float(flat.norm()))
            )
        self.last_gradient = flat
        self.last_step = history.step

    def scale_last(self, factor: float) -> None:
        """Multiply the last gradients by the factor that the step applied to them."""
        if factor != 1:
            for g in self.unscaled:
                g.mul_(factor)
        self.unscaled = []

    def _samples(self, name: str, p: Tensor, group: Mapping[str, Any]) -> list[Tensor]:
        """A sample of the gradient; also of m, v and t if the recording restarts."""
        g = sample_gradient(self.optimizer, p, group, SAMPLE_ELEMENTS, self.ranks).float()
        ring = self.history.recordings.get(name)
        if isinstance(ring, RingBuffer) and ring.continues(self.history.step, step_values(group)):
            return [g]
        state = moment_state(self.optimizer, p, group)
        m, v = (
            sample_tensor(moment, p, SAMPLE_ELEMENTS, self.ranks).float().clone()
            for moment in (state.m, state.v)
        )
        return [g, m, v, torch.tensor([state.t], device=p.device)]

    def _gather(
        self, parameters: list[NamedParameter], samples: list[list[Tensor]]
    ) -> list[list[Tensor]]:
        """The samples, with those of sharded tensors concatenated across ranks."""
        if not self.ranks.collective:
            return samples
        sharded = [i for i, (_, p, _) in enumerate(parameters) if is_sharded(p)]
        if sharded:
            parts = [sample for i in sharded for sample in samples[i]]
            gathered = iter(self.ranks.gather_samples(parts))
            for i in sharded:
                samples[i] = [next(gathered) for _ in samples[i]]
        return samples


def _start(g: Tensor, start: list[Tensor]) -> Moments:
    """The moments before the first recorded step; zeros if they are not readable."""
    m, v, t = start
    if len(m) != len(g) or len(v) != len(g):
        return torch.zeros_like(g), torch.zeros_like(g), 0.0
    return m, v, float(t.max())

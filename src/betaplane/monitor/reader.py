"""Reader: samples every tensor around a step, and adds its quantities to the history."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from warnings import warn

from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import moment_state, step_values, with_warmup
from betaplane.monitor.capture.distributed import RankGroup, is_sharded
from betaplane.monitor.capture.step_sample import (
    PreStepSample,
    StepSample,
    sample_after,
    sample_before,
)
from betaplane.monitor.history import History
from betaplane.monitor.quantities.aggregates import Total, totals
from betaplane.monitor.quantities.batched import TensorSample, read_all
from betaplane.tensors.param_names import NamedParameter, named_parameters

MAX_ELEMENTS = 4096  # sampled per tensor
MIN_ELEMENTS = 64  # sampled per tensor
TOTAL_ELEMENTS = 32_768  # sampled of all tensors, within these limits


class Reader:
    """Take readings.

    Args:
        optimizer: owns the parameters.
        names: names of parameters that have none in the optimizer.
        ranks: the ranks.
        history: receives the readings.
        receive: receives them as rows.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        names: Mapping[Tensor, str] | None,
        ranks: RankGroup,
        history: History,
        receive: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self.optimizer = optimizer
        self.names = names
        self.ranks = ranks
        self.history = history
        self.receive = receive
        tensors = sum(len(group["params"]) for group in optimizer.param_groups)
        elements = TOTAL_ELEMENTS // max(1, tensors)
        self.elements = min(MAX_ELEMENTS, max(MIN_ELEMENTS, elements))
        self._before: dict[str, PreStepSample] = {}
        self._warned = False

    def parameters(self) -> Iterator[NamedParameter]:
        """The parameters with a gradient; for a sharded one another rank may have it."""
        for name, p, group in named_parameters(self.optimizer, self.names):
            maybe_elsewhere = self.ranks.collective and is_sharded(p)
            if p.grad is not None and p.grad.is_sparse:
                self._warn_skipped(f"sparse gradients: {name}")
            elif p.numel() and (maybe_elsewhere or p.grad is not None):
                yield name, p, group

    def sample_before(self) -> None:
        """Sample all that the step overwrites."""
        self._before = {
            name: sample_before(self.optimizer, p, group, self.elements, self.ranks)
            for name, p, group in self.parameters()
        }

    def read(self, clip_factor: float) -> None:
        """Read every quantity of every tensor that was stepped.

        Args:
            clip_factor: the factor by which the step multiplied the gradients.
        """
        history = self.history
        samples = [
            sample
            for name, p, group in named_parameters(self.optimizer, self.names)
            if (sample := self._sample(name, p, group, clip_factor)) is not None
        ]
        square = 0.0
        for reading in read_all(history.step, samples):
            history.readings.add(reading)
            square += reading.g_rms**2 * math.prod(reading.shape)
        if readings := history.current_readings():
            history.readings.steps_read += 1
            self.receive([reading._asdict() for reading in readings])
            history.readings.gradient_norms.append((history.step, math.sqrt(square)))

    def totals(self) -> list[Total]:
        """The quantities of the last reading, per parameter group and over all parameters."""
        groups = self.optimizer.param_groups
        index = {p: i for i, group in enumerate(groups) for p in group["params"]}
        decays = {i: float(group.get("weight_decay", 0.0)) for i, group in enumerate(groups)}
        layers = {name: index[p] for name, p, _ in named_parameters(self.optimizer, self.names)}
        readings = [
            reading for reading in self.history.readings.latest() if reading.layer in layers
        ]
        return totals(readings, layers, decays)

    def _sample(
        self, name: str, p: Tensor, group: Mapping[str, Any], clip_factor: float
    ) -> TensorSample | None:
        """A tensor's samples; None if it was not stepped, or its moments are not readable."""
        old = self._before.get(name)
        if old is None:
            return None
        state = moment_state(self.optimizer, p, group)
        if not state.readable and self.optimizer.state.get(p):
            self._warn_skipped(f"unreadable moments: {name} ({state.description})")
        values = step_values(group)
        betas = (values.beta1, values.beta2)
        sample = sample_after(p, old, state, betas, self.elements, self.ranks)
        if not sample.stepped:
            return None
        self._add_to_history(name, sample)
        before = sample.before
        if clip_factor != 1:
            before = before._replace(g=before.g * clip_factor)
        values = with_warmup(values, self.optimizer, sample.t)
        return TensorSample(
            name, tuple(p.shape), values, before, sample.x, sample.m, sample.v, sample.t
        )

    def _add_to_history(self, name: str, sample: StepSample) -> None:
        """Add what a reading does not contain: zero weights at the start, and touched rows."""
        before = sample.before
        if before.t == 0 and before.x is not None and not bool(before.x.any()):
            self.history.readings.zero_at_start.add(name)
        if before.rows is not None:
            self.history.readings.add_rows(name, before.rows)

    def _warn_skipped(self, reason: str) -> None:
        """Warn once that some tensors are not read."""
        if not self._warned:
            self._warned = True
            warn(f"watch skips tensors with {reason}, and similar ones", stacklevel=2)

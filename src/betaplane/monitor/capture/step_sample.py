"""Samples of one tensor before and after a step, gathered across shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import (
    READABLE_DTYPES,
    MomentState,
    decay_per_step,
    moment_state,
)
from betaplane.monitor.capture.distributed import (
    RankGroup,
    is_owner,
    is_sharded,
    local_rows,
    shard_count,
    shard_like,
)
from betaplane.monitor.capture.hooks import gradient_scale
from betaplane.monitor.capture.quantized import Quantized
from betaplane.monitor.capture.sampling import sample_positions, strided, touched_rows
from betaplane.monitor.quantities.reading import BeforeStep
from betaplane.tensors.dtensor import local_tensor


class PreStepSample(NamedTuple):
    """A tensor's samples before a step."""

    before: BeforeStep
    m: Tensor | None  # first moment, if it is quantized


class StepSample(NamedTuple):
    """A tensor's samples around a step; `m` and `v` are empty if the moments are not readable."""

    before: BeforeStep
    x: Tensor  # weights, (n,)
    m: Tensor  # first moment, the same sample
    v: Tensor  # second moment, the same sample
    t: float  # steps counted

    @property
    def stepped(self) -> bool:
        """Whether the step changed the moments; an optimizer may skip non-finite gradients."""
        old_v = self.before.v
        changed = old_v is None or self.t != self.before.t or not torch.equal(old_v, self.v)
        return bool(len(self.v)) and changed


def sample_tensor(value: Any, p: Tensor, n: int, ranks: RankGroup) -> Tensor:
    """Sample this rank's part of a tensor that is like p.

    The sample is empty if there is no tensor, or if another rank reports this part.

    Args:
        value: like p, or quantized; None if there is none.
        p: the parameter.
        n: the maximum for the whole tensor, >= 1.
        ranks: the ranks.
    """
    value = shard_like(value, p)
    if value is None or (ranks.collective and not is_owner(p)):
        return torch.zeros(0, device=p.device)
    rows = local_rows(p)
    if ranks.collective and is_sharded(p) and rows is None:
        n = -(-n // ranks.size)
    if isinstance(value, Quantized):
        first, spacing = sample_positions(value.codes.shape, n, rows)
        indices = torch.arange(first, value.codes.numel(), spacing, device=value.codes.device)
        return value.at(indices)
    return strided(local_tensor(value), n, rows)


def sample_gradient(
    optimizer: Optimizer, p: Tensor, group: Mapping[str, Any], n: int, ranks: RankGroup
) -> Tensor:
    """A copy of a gradient sample, with the scale and sign that the step uses."""
    g = sample_tensor(p.grad, p, n, ranks).clone()
    factor = (-1 if group.get("maximize") else 1) / gradient_scale(optimizer)
    if factor == 1:
        return g
    return g.to(torch.promote_types(g.dtype, torch.float32)) * factor


def _sample_touched_rows(p: Tensor, ranks: RankGroup) -> Tensor | None:
    """The rows that this rank's part of the gradient touches; see `sample_tensor`."""
    g = shard_like(p.grad, p)
    if g is None or (ranks.collective and not is_owner(p)):
        return None
    return touched_rows(local_tensor(g), rows=local_rows(p))


def sample_before(
    optimizer: Optimizer, p: Tensor, group: Mapping[str, Any], n: int, ranks: RankGroup
) -> PreStepSample:
    """Copy samples of all that a step may overwrite.

    Args:
        optimizer: about to step.
        p: the parameter.
        group: its group.
        n: the maximum per tensor, >= 1.
        ranks: the ranks.
    """
    state = moment_state(optimizer, p, group)
    quantized = isinstance(state.m, Quantized)
    before = BeforeStep(
        g=sample_gradient(optimizer, p, group, n, ranks),
        v=sample_tensor(state.v, p, n, ranks).clone() if state.readable else None,
        t=state.t,
        rows=_sample_touched_rows(p, ranks),
        stochastic=state.stochastic,
        x=sample_tensor(p, p, n, ranks).clone(),
        shrink=decay_per_step(optimizer, group),
    )
    return PreStepSample(before, sample_tensor(state.m, p, n, ranks) if quantized else None)


def sample_after(
    p: Tensor,
    old: PreStepSample,
    state: MomentState,
    betas: tuple[float, float],
    n: int,
    ranks: RankGroup,
) -> StepSample:
    """Sample a tensor after a step; quantized moments are recomputed as before rounding.

    Args:
        p: the parameter, after the step.
        old: its samples before the step.
        state: its moments after the step.
        betas: decay of m and of v.
        n: the maximum per tensor, >= 1.
        ranks: the ranks.
    """
    if isinstance(state.v, Quantized):
        g = old.before.g.float()
        m = _moving_average(old.m, g, betas[0])
        v = _moving_average(old.before.v, g.square(), betas[1])
    else:
        m = sample_tensor(state.m if state.readable else None, p, n, ranks)
        v = sample_tensor(state.v if state.readable else None, p, n, ranks)
    sample = StepSample(old.before, sample_tensor(p, p, n, ranks), m, v, state.t)
    return _gather(sample, p, ranks) if ranks.collective and is_sharded(p) else sample


def _moving_average(old: Tensor | None, new: Tensor, beta: float) -> Tensor:
    return (1 - beta) * new if old is None else beta * old + (1 - beta) * new


def _gather(sample: StepSample, p: Tensor, ranks: RankGroup) -> StepSample:
    """The samples of all shards, on every rank; counts and dtypes come from ranks that have any."""
    before = sample.before
    dtype_index = READABLE_DTYPES.index(sample.v.dtype) if len(sample.v) else -1
    scalars = torch.tensor(
        [before.t, sample.t, float(dtype_index), float(before.stochastic)], device=p.device
    )
    empty = scalars[:0]
    parts = [
        before.g,
        empty if before.v is None else before.v,
        empty if before.rows is None else before.rows.to(scalars),
        empty if before.x is None else before.x,
        sample.x,
        sample.m,
        sample.v,
        scalars,
    ]
    wide = torch.float64 if p.dtype in (torch.float64, torch.complex128) else torch.float32
    g, old_v, touched, old_x, x, m, v, scalars = ranks.gather_samples(parts, wide)
    t_before, t, dtype_index, stochastic = scalars.view(-1, 4).amax(0).tolist()
    if len(v):
        v = v.to(READABLE_DTYPES[int(dtype_index)])
        old_v = old_v.to(v.dtype)
    gathered = BeforeStep(
        g=g,
        v=old_v if len(old_v) else None,
        t=t_before,
        rows=_merge_rows(touched, p),
        stochastic=bool(stochastic),
        x=old_x.to(p.dtype) if len(old_x) == len(x) else None,
        shrink=before.shrink,
    )
    return StepSample(gathered, x, m, v, t)


def _merge_rows(touched: Tensor, p: Tensor) -> Tensor | None:
    """The touched rows of the whole tensor, from those of its shards."""
    if not len(touched):
        return None
    if local_rows(p) is not None:
        return touched > 0
    # each shard holds a part of every row
    return (touched.view(-1, len(touched) // shard_count(p)) > 0).any(0)

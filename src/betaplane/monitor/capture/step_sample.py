"""One tensor's samples around a step, put together from the parts that processes hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import FORMATS, MomentState, held, local, shrink
from betaplane.monitor.capture.distributed import RankGroup, part, placed, sharded, speaks
from betaplane.monitor.capture.hooks import scale
from betaplane.monitor.capture.quantized import Quantized
from betaplane.monitor.capture.sampling import places, strided, touched_rows
from betaplane.monitor.quantities.reading import Before


class PreStepSample(NamedTuple):
    """A tensor's samples from before a step."""

    before: Before
    m: Tensor | None  # first moment, where it is in codes


class StepSample(NamedTuple):
    """A tensor's samples around a step; `m` and `v` are empty where the optimizer keeps none that
    can be read.
    """

    before: Before
    x: Tensor  # weights, (n,)
    m: Tensor  # first moment, the same sample
    v: Tensor  # second moment, the same sample
    t: float  # steps counted

    @property
    def stepped(self) -> bool:
        """Whether there are moments, and the step moved them: an optimizer may leave out gradients
        with inf or nan.
        """
        old = self.before.v
        return bool(len(self.v)) and (
            old is None or self.t != self.before.t or not torch.equal(old, self.v)
        )


def sample(value: Any, p: Tensor, n: int, ranks: RankGroup) -> Tensor:
    """A sample of this process's part of a tensor that is like p; empty where there is none, or
    others speak for it.

    Args:
        value: like p, or in codes; None where there is none.
        p: the parameter.
        n: the most that are taken of the whole tensor, >= 1.
        ranks: the processes.
    """
    value = placed(value, p)
    if value is None or (ranks.together and not speaks(p)):
        return torch.zeros(0, device=p.device)
    rows = part(p)
    n = -(-n // ranks.size) if ranks.together and sharded(p) and rows is None else n
    if isinstance(value, Quantized):
        first, step = places(value.codes.shape, n, rows)
        return value.at(torch.arange(first, value.codes.numel(), step, device=value.codes.device))
    return strided(local(value), n, rows)


def gradient(
    optimizer: Optimizer, p: Tensor, group: Mapping[str, Any], n: int, ranks: RankGroup
) -> Tensor:
    """A copy of a sample of a gradient, in the size and with the sign that the step takes it in."""
    g = sample(p.grad, p, n, ranks).clone()
    by = (-1 if group.get("maximize") else 1) / scale(optimizer)
    return g if by == 1 else g.to(torch.promote_types(g.dtype, torch.float32)) * by


def rows_of(p: Tensor, ranks: RankGroup) -> Tensor | None:
    """Which rows of a matrix this process's part of the gradient touches; as `sample`."""
    g = placed(p.grad, p)
    if g is None or (ranks.together and not speaks(p)):
        return None
    return touched_rows(local(g), part=part(p))


def kept(
    optimizer: Optimizer, p: Tensor, group: Mapping[str, Any], n: int, ranks: RankGroup
) -> PreStepSample:
    """Copies of samples from before a step.

    Args:
        optimizer: has the gradients of the step.
        p: the parameter.
        group: its group.
        n: the most that are taken, >= 1.
        ranks: the processes.
    """
    has, g = held(optimizer, p, group), gradient(optimizer, p, group, n, ranks)
    v = sample(has.v, p, n, ranks).clone() if has.readable else None
    m = sample(has.m, p, n, ranks) if isinstance(has.m, Quantized) else None
    x = sample(p, p, n, ranks).clone()
    return PreStepSample(
        Before(g, v, has.t, rows_of(p, ranks), has.rounds_at_random, x, shrink(optimizer, group)), m
    )


def looked(
    p: Tensor,
    old: PreStepSample,
    has: MomentState,
    beta: tuple[float, float],
    n: int,
    ranks: RankGroup,
) -> StepSample:
    """The samples after a step beside those before it; of moments in codes, what they were before
    they were rounded.

    Args:
        p: the parameter, after the step.
        old: what was kept before it.
        has: the moments after it.
        beta: decay of m and of v.
        n: the most that are taken, >= 1.
        ranks: the processes.
    """
    m, v = (sample(each if has.readable else None, p, n, ranks) for each in (has.m, has.v))
    g = old.before.g.float()
    if isinstance(has.v, Quantized):
        m = _averaged(old.m, g, beta[0])
        v = _averaged(old.before.v, g.square(), beta[1])
    mine = StepSample(old.before, sample(p, p, n, ranks), m, v, has.t)
    return _together(mine, p, ranks) if ranks.together and sharded(p) else mine


def _averaged(old: Tensor | None, new: Tensor, beta: float) -> Tensor:
    return (1 - beta) * new if old is None else beta * old + (1 - beta) * new


def _together(mine: StepSample, p: Tensor, ranks: RankGroup) -> StepSample:
    """The samples of all parts, on every process; counts and types are those of a process that has
    any.
    """
    g, old, t, rows, at_random, *_ = mine.before
    kind = FORMATS.index(mine.v.dtype) if len(mine.v) else -1
    told = torch.tensor([t, mine.t, float(kind), float(at_random)], device=p.device)
    empty = told[:0]
    was = empty if mine.before.x is None else mine.before.x
    rows = empty if rows is None else rows.to(told)
    parts = [g, empty if old is None else old, rows, was, mine.x, mine.m, mine.v, told]
    wide = torch.float64 if p.dtype in (torch.float64, torch.complex128) else torch.float32
    g, old, touched, was, x, m, v, told = ranks.joined(parts, wide)
    t, after, kind, at_random = told.view(-1, 4).amax(0).tolist()
    if len(v):
        v, old = v.to(FORMATS[int(kind)]), old.to(FORMATS[int(kind)])
    same = was.to(p.dtype) if len(was) == len(x) else None
    before = Before(
        g,
        old if len(old) else None,
        t,
        _rows(touched, p),
        bool(at_random),
        same,
        mine.before.shrink,
    )
    return StepSample(before, x, m, v, after)


def _rows(touched: Tensor, p: Tensor) -> Tensor | None:
    """The rows that parts touch: one after the other, or, where each holds a part of every row, any
    of them.
    """
    if not len(touched):
        return None
    if part(p) is not None:
        return touched > 0
    return (touched.view(-1, len(touched) // _parts(p)) > 0).any(0)


def _parts(p: Any) -> int:
    """In how many parts a tensor lies on its processes."""
    sizes = zip(p.device_mesh.shape, p.placements, strict=True)
    found = 1
    for size, placement in sizes:
        found *= 1 if placement.is_replicate() else size
    return found

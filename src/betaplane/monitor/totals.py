"""Figures of many tensors as of one: of a parameter group, of all parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from betaplane.monitor.quantities import TINY, balance, signal_to_noise
from betaplane.monitor.reading import Reading


class Total(NamedTuple):
    """The quantities of several tensors at one step, taken as one tensor; each as in `Reading`."""

    group: int | None  # place of the parameter group; None for all
    step: int
    size: int  # numbers
    finite: bool
    g_norm: float  # gradient units
    g_rms: float
    g_max: float
    m_rms: float
    root_rms: float
    update_rms: float  # units of lr, where tensors differ in it of the mean square over numbers
    update_max: float
    weight_norm: float  # weight units
    weight_rms: float
    weight_max: float
    ratio: float  # of an update over the weights, both RMS, lr taken in
    lag: float
    reach: float
    below_eps: float
    lost: float
    still: float
    snr: float
    agreement: float
    gradient_ratio: float  # |g| / |x|, gradient over weight units
    balance: float  # update over weights, over the ratio that weight decay settles at; nan without decay


def totals(readings: Sequence[Reading], groups: Mapping[str, int], decays: Mapping[int, float]) -> list[Total]:
    """The total of each parameter group, and of all parameters at the end.

    Args:
        readings: of one step.
        groups: the place of each tensor's group.
        decays: the weight decay of each group, as in torch's AdamW.

    Returns:
        Totals; none where there are no readings.

    Example:
        >>> import betaplane, torch
        >>> p, q = torch.nn.Parameter(torch.tensor([3.0])), torch.nn.Parameter(torch.tensor([4.0, 0.0, 0.0]))
        >>> optimizer = torch.optim.AdamW([{"params": [p]}, {"params": [q], "lr": 0.1}])
        >>> with betaplane.watch(optimizer, console=False) as watcher:
        ...     p.grad, q.grad = torch.tensor([6.0]), torch.tensor([0.0, 8.0, 0.0])
        ...     optimizer.step()
        >>> [(total.group, total.size, round(total.g_norm, 4)) for total in watcher.totals()]
        [(0, 1, 6.0), (1, 3, 8.0), (None, 4, 10.0)]
    """
    if not readings:
        return []
    places = sorted({groups[reading.layer] for reading in readings})
    each = [total([r for r in readings if groups[r.layer] == place], place, decays[place]) for place in places]
    return [*each, total(readings, None, _mean(readings, [decays[groups[r.layer]] for r in readings]))]


def total(readings: Sequence[Reading], group: int | None = None, weight_decay: float = 0.0) -> Total:
    """Several tensors as one: squares and shares weigh by size, the largest is the largest.

    Args:
        readings: of one step, one or more.
        group: the place of their group; None for all.
        weight_decay: as in torch's AdamW.
    """
    now, size = readings[0], sum(_size(reading) for reading in readings)
    g, weight, update = (_rms(readings, name) for name in ("g_rms", "weight_rms", "update_rms"))
    moved = math.sqrt(_mean(readings, [(reading.lr * reading.update_rms) ** 2 for reading in readings]))
    lr = moved / update if update else now.lr
    beta1 = _mean(readings, [reading.beta1 for reading in readings])
    return Total(
        group=group,
        step=now.step,
        size=size,
        finite=all(reading.finite for reading in readings),
        g_norm=g * math.sqrt(size),
        g_rms=g,
        g_max=_most(readings, "g_max"),
        m_rms=_rms(readings, "m_rms"),
        root_rms=_rms(readings, "root_rms"),
        update_rms=update,
        update_max=_most(readings, "update_max"),
        weight_norm=weight * math.sqrt(size),
        weight_rms=weight,
        weight_max=_most(readings, "weight_max"),
        ratio=moved / max(weight, TINY),
        lag=_rms(readings, "lag"),
        reach=_most(readings, "reach"),
        below_eps=_share(readings, "below_eps"),
        lost=_share(readings, "lost"),
        still=_share(readings, "still"),
        snr=signal_to_noise(update, beta1),
        agreement=_share(readings, "agreement"),
        gradient_ratio=g / max(weight, TINY),
        balance=balance(update, weight, lr, weight_decay, beta1),
    )


def _size(reading: Reading) -> int:
    return math.prod(reading.shape)


def _mean(readings: Sequence[Reading], values: Sequence[float]) -> float:
    size = sum(_size(reading) for reading in readings)
    return sum(_size(reading) * value for reading, value in zip(readings, values, strict=True)) / size


def _rms(readings: Sequence[Reading], name: str) -> float:
    return math.sqrt(_mean(readings, [getattr(reading, name) ** 2 for reading in readings]))


def _share(readings: Sequence[Reading], name: str) -> float:
    return _mean(readings, [getattr(reading, name) for reading in readings])


def _most(readings: Sequence[Reading], name: str) -> float:
    values = [getattr(reading, name) for reading in readings]
    return math.nan if any(map(math.isnan, values)) else max(values)

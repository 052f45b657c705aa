"""Quantities of several tensors combined: per parameter group, and over all parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from betaplane.monitor.quantities.formulas import TINY, balance, signal_to_noise
from betaplane.monitor.quantities.reading import Reading

# how each quantity is combined
BY_RMS = ("g_rms", "m_rms", "root_rms", "update_rms", "weight_rms", "lag")
BY_MAXIMUM = ("g_max", "update_max", "weight_max", "reach")
BY_MEAN = ("below_eps", "lost", "still", "agreement", "beta1")
FROM_OTHERS = ("ratio", "snr")
COMBINED = (*BY_RMS, *BY_MAXIMUM, *BY_MEAN, *FROM_OTHERS)


class Total(NamedTuple):
    """The quantities of several tensors at one step, as if they were one; as in `Reading`."""

    group: int | None  # index of the parameter group; None for all parameters
    step: int
    size: int  # elements
    finite: bool
    g_norm: float  # gradient units
    g_rms: float
    g_max: float
    m_rms: float
    root_rms: float
    update_rms: float  # units of lr; if lr differs, of the mean square over elements
    update_max: float
    weight_norm: float  # weight units
    weight_rms: float
    weight_max: float
    ratio: float  # lr times update over weights, both RMS
    lag: float
    reach: float
    below_eps: float
    lost: float
    still: float
    snr: float
    agreement: float
    gradient_ratio: float  # |g| / |x|, gradient over weight units
    # update over weights, relative to the equilibrium of weight decay; nan without decay
    balance: float


def totals(
    readings: Sequence[Reading], groups: Mapping[str, int], decays: Mapping[int, float]
) -> list[Total]:
    """The total of each parameter group, then that of all parameters.

    Args:
        readings: of one step.
        groups: the index of each tensor's group.
        decays: the weight decay of each group, as in torch's AdamW.

    Returns:
        The totals; an empty list if there are no readings.

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
    by_group: dict[int, list[Reading]] = {}
    for reading in readings:
        by_group.setdefault(groups[reading.layer], []).append(reading)
    mean_decay = np.average(
        [decays[groups[reading.layer]] for reading in readings],
        weights=[_size(reading) for reading in readings],
    )
    return [
        *(total(by_group[i], i, decays[i]) for i in sorted(by_group)),
        total(readings, None, float(mean_decay)),
    ]


def total(
    readings: Sequence[Reading], group: int | None = None, weight_decay: float = 0.0
) -> Total:
    """Combine several tensors: squares and shares are weighted by size, maxima are taken.

    Args:
        readings: of one step, at least one.
        group: the index of their group; None for all parameters.
        weight_decay: as in torch's AdamW.
    """
    sizes = np.array([_size(reading) for reading in readings])
    columns = {
        name: np.array([[getattr(reading, name)] for reading in readings]) for name in COMBINED
    }
    combined = {name: float(combine(name, columns, sizes)[0]) for name in COMBINED}
    g_rms, weight_rms, update_rms = (
        combined[name] for name in ("g_rms", "weight_rms", "update_rms")
    )
    lr = readings[0].lr
    if update_rms:
        lr = combined["ratio"] * max(weight_rms, TINY) / update_rms
    root_size = math.sqrt(sizes.sum())
    return Total(
        group=group,
        step=readings[0].step,
        size=int(sizes.sum()),
        finite=all(reading.finite for reading in readings),
        g_norm=g_rms * root_size,
        weight_norm=weight_rms * root_size,
        gradient_ratio=g_rms / max(weight_rms, TINY),
        balance=balance(update_rms, weight_rms, lr, weight_decay, combined["beta1"]),
        **{name: value for name, value in combined.items() if name in Total._fields},
    )


def combine(name: str, values: Mapping[str, np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """One quantity of several tensors combined, (R,), at each of R steps.

    Args:
        name: one of `COMBINED`.
        values: quantities of the tensors, (L, R) each; nan is skipped. "ratio" also needs
            weight_rms; "snr" needs update_rms and beta1.
        sizes: elements in each tensor, (L,).

    Example:
        >>> combine("lag", {"lag": np.array([[1.0, 2.0], [7.0, np.nan]])}, np.array([30, 10])).tolist()
        [3.605551275463989, 2.0]
    """
    if name == "snr":
        return _combine_snr(values, sizes)
    if name == "ratio":
        return _combine_ratio(values, sizes)
    x = values[name]
    valid = ~np.isnan(x)
    if name in BY_MAXIMUM:
        return np.where(valid.any(0), np.where(valid, x, -np.inf).max(0), np.nan)
    power = 2 if name in BY_RMS else 1
    with np.errstate(invalid="ignore"):
        total_size = (sizes[:, None] * valid).sum(0)
        mean = (sizes[:, None] * np.where(valid, x, 0.0) ** power).sum(0) / total_size
    return np.sqrt(mean) if name in BY_RMS else mean


def _combine_snr(values: Mapping[str, np.ndarray], sizes: np.ndarray) -> np.ndarray:
    update_rms = combine("update_rms", values, sizes)
    beta1 = combine("beta1", values, sizes)
    return np.array(
        [
            signal_to_noise(u, b) if u < math.inf else u
            for u, b in zip(update_rms, beta1, strict=True)
        ]
    )


def _combine_ratio(values: Mapping[str, np.ndarray], sizes: np.ndarray) -> np.ndarray:
    displacement = values["ratio"] * np.maximum(values["weight_rms"], TINY)
    displacement_rms = combine("update_rms", {"update_rms": displacement}, sizes)
    return displacement_rms / np.maximum(combine("weight_rms", values, sizes), TINY)


def _size(reading: Reading) -> int:
    return math.prod(reading.shape)

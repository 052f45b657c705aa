"""Figures of many tensors as of one: of a parameter group, of all parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from betaplane.monitor.quantities.formulas import TINY, balance, signal_to_noise
from betaplane.monitor.quantities.reading import Reading

# the root of their mean square
SQUARES = ("g_rms", "m_rms", "root_rms", "update_rms", "weight_rms", "lag")
LARGEST = ("g_max", "update_max", "weight_max", "reach")
SHARES = ("below_eps", "lost", "still", "agreement", "beta1")  # their mean
SINGLE = ("ratio", "snr")  # from others of these
TOGETHER = (*SQUARES, *LARGEST, *SHARES, *SINGLE)


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
    # update over weights, over the ratio that weight decay settles at; nan without decay
    balance: float


def totals(
    readings: Sequence[Reading], groups: Mapping[str, int], decays: Mapping[int, float]
) -> list[Total]:
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
    each = [
        total([r for r in readings if groups[r.layer] == place], place, decays[place])
        for place in places
    ]
    mean = np.average(
        [decays[groups[r.layer]] for r in readings], weights=[_size(r) for r in readings]
    )
    return [*each, total(readings, None, float(mean))]


def total(
    readings: Sequence[Reading], group: int | None = None, weight_decay: float = 0.0
) -> Total:
    """Several tensors as one: squares and shares weigh by size, the largest is the largest.

    Args:
        readings: of one step, one or more.
        group: the place of their group; None for all.
        weight_decay: as in torch's AdamW.
    """
    sizes = np.array([_size(reading) for reading in readings])
    needed = {
        name: np.array([[getattr(reading, name)] for reading in readings]) for name in TOGETHER
    }
    found = {name: float(together(name, needed, sizes)[0]) for name in TOGETHER}
    g, weight, update, beta1 = (
        found[name] for name in ("g_rms", "weight_rms", "update_rms", "beta1")
    )
    lr = found["ratio"] * max(weight, TINY) / update if update else readings[0].lr
    root, fields = (
        math.sqrt(sizes.sum()),
        {name: value for name, value in found.items() if name in Total._fields},
    )
    return Total(
        group=group,
        step=readings[0].step,
        size=int(sizes.sum()),
        finite=all(reading.finite for reading in readings),
        g_norm=g * root,
        weight_norm=weight * root,
        gradient_ratio=g / max(weight, TINY),
        balance=balance(update, weight, lr, weight_decay, beta1),
        **fields,
    )


def together(name: str, values: Mapping[str, np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """One quantity of several tensors as of one, (R,), at each of R steps.

    Args:
        name: one of `TOGETHER`.
        values: quantities of the tensors, (L, R) each; "ratio" asks for weight_rms, "snr" for update_rms and beta1. nan
            is left out.
        sizes: numbers in each tensor, (L,).

    Example:
        >>> together("lag", {"lag": np.array([[1.0, 2.0], [7.0, np.nan]])}, np.array([30, 10])).tolist()
        [3.605551275463989, 2.0]
    """
    if name == "snr":
        update, beta1 = (together(each, values, sizes) for each in ("update_rms", "beta1"))
        return np.array(
            [
                signal_to_noise(u, b) if u < math.inf else u
                for u, b in zip(update, beta1, strict=True)
            ]
        )
    if name == "ratio":
        moved = values["ratio"] * np.maximum(values["weight_rms"], TINY)
        weight = together("weight_rms", values, sizes)
        return together("update_rms", {"update_rms": moved}, sizes) / np.maximum(weight, TINY)
    x = values[name]
    seen = ~np.isnan(x)
    if name in LARGEST:
        return np.where(seen.any(0), np.where(seen, x, -np.inf).max(0), np.nan)
    powers = np.where(seen, x, 0.0) ** (2 if name in SQUARES else 1)
    with np.errstate(invalid="ignore"):
        mean = (sizes[:, None] * powers).sum(0) / (sizes[:, None] * seen).sum(0)
    return np.sqrt(mean) if name in SQUARES else mean


def _size(reading: Reading) -> int:
    return math.prod(reading.shape)

"""Compare the final values of short runs of the plain and the stacked engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betaplane.problems.generators import GeneratorStates

LOSSES = ("the initial loss", "the losses")  # names of values that are not tensors of the objective
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-9}  # relative and absolute


@dataclass
class FinalState:
    """The state at the end of a short run."""

    values: dict[str, Tensor]  # losses, parameters and buffers, by name
    generators: GeneratorStates
    draws: bool = False  # it drew random numbers from torch


def differing_values(
    ours: Sequence[FinalState], theirs: Sequence[FinalState], dtype: torch.dtype
) -> list[str]:
    """The names of values that differ beyond rounding, the losses first."""
    return [
        name
        for a, b in zip(ours, theirs, strict=True)
        for name in values_beyond(a, b, TOLERANCES[dtype])
    ]


def values_beyond(a: FinalState, b: FinalState, tolerance: float) -> list[str]:
    """The names of values that differ by more than a tolerance."""
    pairs = [(name, x, b.values[name]) for name, x in a.values.items() if name in b.values]
    return [
        name
        for name, x, y in pairs
        if x.shape != y.shape
        or not torch.allclose(x.double(), y.double(), tolerance, tolerance, equal_nan=True)
    ]


def is_rounding(
    plain: Sequence[FinalState],
    stacked: Sequence[FinalState],
    exact: Sequence[FinalState],
    factor: float,
) -> bool:
    """Whether the errors of a stack, against float64, are at most a factor times the plain
    engine's.
    """
    return all(
        _distance(s.values[name], e.values[name])
        <= factor * _distance(p.values[name], e.values[name]) + TOLERANCES[torch.float32]
        for p, s, e in zip(plain, stacked, exact, strict=True)
        for name in s.values.keys() & p.values.keys()
    )


def _distance(x: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to elements above 1 and absolute below."""
    if x.shape != exact.shape:
        return float("inf")
    error = (x.double() - exact.double()).abs() / (1 + exact.double().abs())
    return float(error.max()) if error.numel() else 0.0

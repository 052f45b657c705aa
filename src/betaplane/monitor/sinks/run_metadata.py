"""Metadata of a run: the optimizer, its hyperparameters and tensors, versions, the time."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.tensors.param_names import named_parameters

PLAIN_TYPES = (bool, int, float, str)


def describe_run(
    optimizer: Optimizer, every: int, budget: float, names: Mapping[Tensor, str] | None = None
) -> dict[str, Any]:
    """The metadata at the beginning of a run's record, as JSON-compatible data.

    Args:
        optimizer: the watched optimizer.
        every: steps between readings.
        budget: share of the run's time.
        names: names of parameters that have none in the optimizer.

    Example:
        >>> run = describe_run(torch.optim.Adam(torch.nn.Linear(3, 2).named_parameters()), every=10, budget=0.02)
        >>> run["optimizer"], run["groups"][0]["betas"], run["layers"][0]
        ('Adam', [0.9, 0.999], {'name': 'weight', 'shape': [2, 3], 'dtype': 'float32', 'group': 0})
    """
    groups = {id(group): i for i, group in enumerate(optimizer.param_groups)}
    return {
        "optimizer": type(optimizer).__qualname__,
        "module": type(optimizer).__module__,
        "groups": [_hyperparameters(group) for group in optimizer.param_groups],
        "layers": [
            _layer(name, p, groups[id(group)])
            for name, p, group in named_parameters(optimizer, names)
        ],
        "every": every,
        "budget": budget,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "betaplane": version("betaplane"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _layer(name: str, p: Tensor, group: int) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(p.shape),
        "dtype": str(p.dtype).removeprefix("torch."),
        "group": group,
    }


def _hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a group; a tensor of one element becomes a number."""
    values = {
        name: _plain(value)
        for name, value in group.items()
        if name not in ("params", "param_names")
    }
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else None
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value if isinstance(value, PLAIN_TYPES) else None

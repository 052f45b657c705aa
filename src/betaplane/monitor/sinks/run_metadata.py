"""What a reader of a record needs to know of a run: the optimizer, its numbers, its tensors,
versions, the time.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.adam_state import named

PLAIN = (bool, int, float, str)


def start_facts(
    optimizer: Optimizer, every: int, budget: float, names: Mapping[Tensor, str] | None = None
) -> dict[str, Any]:
    """The facts that a record of a run begins with, as plain words and numbers.

    Args:
        optimizer: what is watched.
        every: steps from one reading to the next.
        budget: share of the run's time.
        names: of parameters that the optimizer has no names of.

    Example:
        >>> facts = start_facts(torch.optim.Adam(torch.nn.Linear(3, 2).named_parameters()), every=10, budget=0.02)
        >>> facts["optimizer"], facts["groups"][0]["betas"], facts["layers"][0]
        ('Adam', [0.9, 0.999], {'name': 'weight', 'shape': [2, 3], 'dtype': 'float32', 'group': 0})
    """
    groups = {id(group): i for i, group in enumerate(optimizer.param_groups)}
    return {
        "optimizer": type(optimizer).__qualname__,
        "module": type(optimizer).__module__,
        "groups": [_numbers(group) for group in optimizer.param_groups],
        "layers": [
            _layer(name, p, groups[id(group)]) for name, p, group in named(optimizer, names)
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


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group says in numbers and words; a tensor of one number as that number."""
    plain = {
        name: _plain(value)
        for name, value in group.items()
        if name not in ("params", "param_names")
    }
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else None
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value if isinstance(value, PLAIN) else None

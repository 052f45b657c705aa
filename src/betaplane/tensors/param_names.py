"""Names of an optimizer's parameters: the model's, the optimizer's own, or the parameter's
position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor

Group = Mapping[str, Any]
NamedParameter = tuple[str, Tensor, Group]  # a parameter's name, the parameter, its group

POSITION = "{group}.{index}"


def named_parameters(
    optimizer: torch.optim.Optimizer,
    names: Mapping[Tensor, str] | None = None,
    position: str = POSITION,
) -> Iterator[NamedParameter]:
    """Yield each parameter with its name and its group.

    Args:
        optimizer: owns the parameters.
        names: names that take precedence over the optimizer's own.
        position: name of a parameter that has none, with the fields `group` and `index`.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.Adam(torch.nn.Linear(2, 1).named_parameters())
        >>> [name for name, _, _ in named_parameters(optimizer)]
        ['weight', 'bias']
        >>> optimizer = torch.optim.Adam(torch.nn.Linear(2, 1).parameters())
        >>> [name for name, _, _ in named_parameters(optimizer)]
        ['0.0', '0.1']
    """
    preferred = names or {}
    for i, group in enumerate(optimizer.param_groups):
        own_names = group.get("param_names") or [
            position.format(group=i, index=j) for j in range(len(group["params"]))
        ]
        for name, p in zip(own_names, group["params"], strict=True):
            yield preferred.get(p, name), p, group


class ParamNames(dict[Tensor, str]):
    """Unique names of all parameters of an optimizer; a parameter never changes its name.

    Args:
        optimizer: owns the parameters.
        preferred: names of some parameters; the others have the optimizer's own names, or their
            position.

    Example:
        >>> import torch
        >>> encoder, decoder = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
        >>> groups = [{"params": module.named_parameters()} for module in (encoder, decoder)]
        >>> [*ParamNames(torch.optim.Adam(groups)).values()]
        ['weight', 'weight (2)']
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, preferred: Mapping[Tensor, str] | None = None
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.preferred = dict(preferred or {})
        self.add_new()

    def add_new(self) -> None:
        """Name the parameters that the optimizer has gained since the last call."""
        if all(p in self for group in self.optimizer.param_groups for p in group["params"]):
            return
        taken = set(self.values())
        for name, p, _ in named_parameters(self.optimizer, self.preferred):
            if p not in self:
                self[p] = _unique(name, taken)
                taken.add(self[p])


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number appended if another parameter has it."""
    if name not in taken:
        return name
    return next(f"{name} ({i})" for i in count(2) if f"{name} ({i})" not in taken)

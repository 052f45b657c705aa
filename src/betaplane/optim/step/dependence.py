"""How far a rule looks: at each number by itself, at means over the whole tensor, or at the
tensor's shape.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from betaplane.errors import BadInput
from betaplane.rules import Rule

Reach = Literal["number", "mean", "shape"]

aten = torch.ops.aten
CREATES = {
    aten._to_copy,
    aten.clone,
    aten.scalar_tensor,
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
}
KNOWN: dict[tuple, Reach] = {}


def reach(rule: Rule) -> Reach:
    """What of a parameter the step of one of its numbers depends on, told from the operations the
    rule calls.

    Returns:
        "number": on that number alone; "mean": on means over all numbers, too; "shape": on rows, columns, their count.

    Example:
        >>> from betaplane.rules import Adafactor, AdamW
        >>> reach(AdamW()), reach(AdamW(clip=1.0)), reach(Adafactor())
        ('number', 'mean', 'shape')
    """
    kind = kind_of(rule)
    if kind not in KNOWN:
        KNOWN[kind] = _reach(rule)
    return KNOWN[kind]


def kind_of(rule: Rule) -> tuple:
    """What of a rule decides which operations it is made of: of its numbers, only which are 0 or
    infinite.
    """
    values = [getattr(rule, field.name) for field in fields(rule)]
    counts = [
        isinstance(value, Tensor | float) and value not in (0, float("inf")) for value in values
    ]
    return type(rule), *(
        None if count else value for value, count in zip(values, counts, strict=True)
    )


def _reach(rule: Rule) -> Reach:
    plain = {name: float(value) for name, value in vars(rule).items() if isinstance(value, Tensor)}
    try:
        (short, means), (long, _) = (_calls(replace(rule, **plain), rows) for rows in (3, 6))
    except BadInput:  # the rule refuses parameters of these shapes, as AdamMini(rows=2) does
        return "shape"
    others = [function for function, *_ in short if not _pointwise(function)]
    if short != long or others != [aten.mean.default] * means:
        return "shape"
    return "mean" if others else "number"


def is_mean(function: Any, args: tuple, kwargs: Any) -> bool:
    """Whether a call from Python is that of a mean over a whole tensor."""
    return function in (torch.mean, Tensor.mean) and len(args) == 1 and not kwargs


def _pointwise(function: Any) -> bool:
    return torch.Tag.pointwise in function.tags or function.overloadpacket in CREATES


def _calls(rule: Rule, rows: int) -> tuple[list[tuple], int]:
    """Torch's functions that a step of a matrix comes down to, and how many means it asks for in
    Python.
    """
    x = torch.zeros(rows, 4)
    s, lr = rule.init(x), torch.tensor(0.1)
    with _Functions() as noted, _Means() as means:
        rule.step(x, x.clone(), s, lr)
    return noted.calls, means.count


class _Functions(TorchDispatchMode):
    """Notes torch's functions as they are called, with their arguments other than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note one, and call it."""
        self.calls.append((func, *(arg for arg in args if not isinstance(arg, Tensor))))
        return func(*args, **(kwargs or {}))


class _Means(TorchFunctionMode):
    """Counts means."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one, and call it."""
        self.count += is_mean(func, args, kwargs)
        return func(*args, **(kwargs or {}))

"""What the update of one element depends on: that element alone, means over the tensor, or the
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
from betaplane.optim.once import MAKING
from betaplane.rules import Rule

Dependence = Literal["elementwise", "reduction", "shape"]

aten = torch.ops.aten
CREATION_OPS = {
    aten._to_copy,
    aten.clone,
    aten.scalar_tensor,
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
}
CACHE: dict[tuple, Dependence] = {}  # by structure of the rule


def dependence(rule: Rule) -> Dependence:
    """What the step of one element depends on, found from the operations that the rule calls.

    Returns:
        "elementwise": on that element alone; "reduction": also on means over all elements; "shape": on rows, columns or
        their number.

    Example:
        >>> from betaplane.rules import Adafactor, AdamW
        >>> dependence(AdamW()), dependence(AdamW(clip=1.0)), dependence(Adafactor())
        ('elementwise', 'reduction', 'shape')
    """
    structure = rule_structure(rule)
    if structure not in CACHE:
        with MAKING:  # a fork must not happen while torch traces: its locks would stay taken
            CACHE[structure] = _trace_dependence(rule)
    return CACHE[structure]


def rule_structure(rule: Rule) -> tuple:
    """What of a rule decides which operations its step calls.

    That is its class and its options, but of its hyperparameters only which are 0 or infinite: for those, rules leave
    operations out.
    """
    values = [getattr(rule, field.name) for field in fields(rule)]
    ordinary = [
        isinstance(value, Tensor | float) and value not in (0, float("inf")) for value in values
    ]
    return type(rule), *(
        None if any_value else value for value, any_value in zip(values, ordinary, strict=True)
    )


def _trace_dependence(rule: Rule) -> Dependence:
    floats = {name: float(value) for name, value in vars(rule).items() if isinstance(value, Tensor)}
    try:
        probed = [_calls(replace(rule, **floats), x) for x in _probes()]
    except (BadInput, RuntimeError):
        # the rule rejects parameters of these shapes, as AdamMini(rows=2) does, or reads values
        return "shape"
    (short, means), *others = probed
    reductions = [function for function, *_ in short if not _is_pointwise(function)]
    if any(calls != short for calls, _ in others) or reductions != [aten.mean.default] * means:
        return "shape"
    return "reduction" if reductions else "elementwise"


def is_mean(function: Any, args: tuple, kwargs: Any) -> bool:
    """Whether a call from Python is the mean over a whole tensor."""
    return function in (torch.mean, Tensor.mean) and len(args) == 1 and not kwargs


def _is_pointwise(function: Any) -> bool:
    return torch.Tag.pointwise in function.tags or function.overloadpacket in CREATION_OPS


def _probes() -> list[Tensor]:
    """Matrices for which a rule's operations differ if they depend on the shape; a rule may treat
    only large ones as matrices.
    """
    return [torch.zeros(3, 4), torch.zeros(6, 4), torch.zeros(2**20, 2**20, device="meta")]


def _calls(rule: Rule, x: Tensor) -> tuple[list[tuple], int]:
    """The ATen operations in a step of a matrix, and how many means the rule calls from Python."""
    s, lr = rule.init(x), torch.tensor(0.1)
    with _OperationRecorder() as recorder, _MeanCounter() as means:
        rule.step(x, x.clone(), s, lr)
    return recorder.calls, means.count


class _OperationRecorder(TorchDispatchMode):
    """Records ATen operations with those of their arguments that are not tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record an operation and call it."""
        self.calls.append((func, *(arg for arg in args if not isinstance(arg, Tensor))))
        return func(*args, **(kwargs or {}))


class _MeanCounter(TorchFunctionMode):
    """Counts the means that are called from Python."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a mean; call the function."""
        self.count += is_mean(func, args, kwargs)
        return func(*args, **(kwargs or {}))

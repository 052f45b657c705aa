"""What an optimizer step does to one parameter: scale the gradient, apply the rule, round and
average the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.optim.storage_formats import Format, StochasticBFloat16, storage_format
from betaplane.rules import Rule

ROUNDINGS = ("nearest", "stochastic", "kahan")
COMPENSATION, AVERAGE = "compensation", "average"  # state keys beside the rule's


class StepValues(NamedTuple):
    """The numbers that a step takes besides tensors: floats, or 0-dimensional tensors."""

    lr: Any
    scale: Any = 1.0  # factor of the gradients
    decay: Any = 0.0  # of the average of the weights, in [0, 1)


@dataclass(frozen=True)
class StepSpec:
    """What one step does to each parameter of a group.

    - `storage`: how the state is stored, see storage_formats.py.
    - `rounding`: how bfloat16 weights take updates smaller than their precision: "nearest" loses them; "stochastic"
      uses stochastic rounding, which is right on average; "kahan" keeps the rounding errors in a second tensor
    - `average`: whether an exponential moving average of the weights is kept
    - `zero`: whether the gradient is set to zero
    - `norms`: whether the squared norm of the update is measured
    """

    rule: Rule
    maximize: bool = False
    storage: str = "parameter"
    rounding: str = "nearest"
    scaled: bool = False
    average: bool = False
    zero: bool = False
    norms: bool = False

    def weight_format(self, p: Tensor) -> Format:
        """The format in which p itself is stored."""
        stochastic = p.dtype == torch.bfloat16 and self.rounding == "stochastic"
        return StochasticBFloat16() if stochastic else Format(p.dtype)

    def state_format(self, p: Tensor, name: str, value: Tensor) -> Format:
        """The format in which the field `name` of p's state is stored.

        Args:
            p: the parameter, or a part of it with its number of elements as `whole_numel`.
            name: a field of the rule's state, or one of `extra_fields`.
            value: a tensor of the field's shape.
        """
        if name == COMPENSATION:
            return Format(torch.bfloat16)
        if name == AVERAGE or value.dim() == 0 or value.shape != p.shape:
            return Format()
        numel = getattr(p, "whole_numel", p.numel())
        return storage_format(self.storage, numel, name in self.rule.nonnegative)

    def extra_fields(self, p: Tensor) -> tuple[str, ...]:
        """The state that is stored besides the rule's, each tensor like p."""
        compensated = p.dtype == torch.bfloat16 and self.rounding == "kahan"
        return (COMPENSATION,) * compensated + (AVERAGE,) * self.average

    def apply(
        self, x: Tensor, g: Tensor, s: Any, extra: dict[str, Tensor], values: StepValues
    ) -> StepResult:
        """Take one step out of place, in the dtype of x.

        Args:
            x: the parameter.
            g: like x, its gradient.
            s: the rule's state.
            extra: the tensors of `extra_fields`, each like x.
            values: learning rate, scale of the gradient, decay of the average.
        """
        if self.maximize:
            g = -g
        if self.scaled:
            g = g * values.scale
        new_x, new_s = self.rule.step(x, g, s, values.lr)
        extra = dict(extra)
        if COMPENSATION in extra:
            new_x, extra[COMPENSATION] = add_compensated(x, new_x - x, extra[COMPENSATION])
        if AVERAGE in extra:
            extra[AVERAGE] = new_x + values.decay * (extra[AVERAGE] - new_x)
        squared_update = (new_x - x).square().sum() if self.norms else None
        return StepResult(new_x, new_s, extra, squared_update)


class StepResult(NamedTuple):
    """The tensors after a step."""

    x: Tensor
    s: Any
    extra: dict[str, Tensor]
    squared_update: Tensor | None  # (), squared norm of the update, if it is measured


def add_compensated(x: Tensor, update: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Add an update to bfloat16 weights and carry the rounding error on; all in a wider dtype.

    ```
    error = bf16(error + update)
    x'    = bf16(x + error)
    error = bf16(error + (x - x'))
    ```

    Source: W. Kahan 1965, "Further remarks on reducing truncation errors"; Zamirai et al. 2020, arXiv:2010.06192, for
    weights in bfloat16.

    Example:
        >>> x = error = torch.tensor(1.0)
        >>> error = 0 * error
        >>> for _ in range(100):
        ...     x, error = add_compensated(x, torch.tensor(-1e-4), error)
        >>> x.item()
        0.98828125
    """
    error = _round_to_bfloat16(error + update)
    new_x = _round_to_bfloat16(x + error)
    return new_x, _round_to_bfloat16(error + (x - new_x))


def _round_to_bfloat16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


@lru_cache(maxsize=1024)
def state_fields(rule: Rule) -> dict[str, bool]:
    """The fields of a rule's state; True for those like x, False for single numbers."""
    state = rule.init(torch.zeros(12))
    return {name: value.dim() > 0 for name, value in zip(state._fields, state, strict=True)}


def promoted_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype to which torch promotes the floating-point tensors among these."""
    dtypes = [value.dtype for value in tensors if value.is_floating_point()]
    return reduce(torch.promote_types, dtypes)

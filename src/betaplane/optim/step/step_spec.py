"""All that one pass over a parameter does: the gradient scaled, the rule, the rounding of weights,
their average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.optim.storage_formats import Format, Rounded, format_of
from betaplane.rules import Rule

ROUNDINGS = ("nearest", "stochastic", "kahan")
LOST, AVERAGE = "compensation", "average"  # words of the state


def check_rounding(value: str) -> str:
    """`value`, if it is one of ROUNDINGS."""
    if value not in ROUNDINGS:
        allowed = " or ".join(map(repr, ROUNDINGS))
        raise BadInput(
            "rounding is unknown",
            value=value,
            allowed=allowed,
            where="the optimizer",
            instead='rounding="kahan"',
        )
    return value


class StepValues(NamedTuple):
    """What a pass takes besides tensors: floats, or 0-d tensors."""

    lr: Any
    scale: Any = 1.0  # of gradients
    decay: Any = 0.0  # of the weights' average, in [0, 1)


@dataclass(frozen=True)
class StepSpec:
    """What is done to each parameter of a group, in one pass.

    - `storage`: how the state is kept, see formats.py.
    - `rounding`: how weights in bfloat16 take updates smaller than their steps: "nearest" loses them; "stochastic"
      rounds at random, with the right mean; "kahan" keeps what was lost in a tensor beside them
    - `average`: whether a running average of the weights is kept
    - `zero`: whether the gradient is set to zero
    - `norms`: whether the squared length of the update is measured
    """

    rule: Rule
    maximize: bool = False
    storage: str = "parameter"
    rounding: str = "nearest"
    scaled: bool = False
    average: bool = False
    zero: bool = False
    norms: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is the rule and no more."""
        return self == StepSpec(self.rule, self.maximize)

    def weights(self, p: Tensor) -> Format:
        """How p itself is kept."""
        rounded = p.dtype == torch.bfloat16 and self.rounding == "stochastic"
        return Rounded() if rounded else Format(p.dtype)

    def kept(self, p: Tensor, name: str, value: Tensor) -> Format:
        """How the field `name` of p's state is kept."""
        if name == LOST:
            return Format(torch.bfloat16)
        if name == AVERAGE or value.dim() == 0 or value.shape != p.shape:
            return Format()
        return format_of(
            self.storage, getattr(p, "whole_numel", p.numel()), name in self.rule.nonnegative
        )

    def extras(self, p: Tensor) -> tuple[str, ...]:
        """The state that is kept beside the rule's, all like p."""
        compensated = p.dtype == torch.bfloat16 and self.rounding == "kahan"
        return (LOST,) * compensated + (AVERAGE,) * self.average

    def whole(
        self, x: Tensor, g: Tensor, s: Any, extra: dict[str, Tensor], numbers: StepValues
    ) -> StepResult:
        """One pass, out of place, in the type of x.

        Args:
            x: the parameter.
            g: like x, its gradient.
            s: the rule's state.
            extra: what `extras` names, each like x.
            numbers: learning rate, scale of the gradient, decay of the average.
        """
        if self.maximize:
            g = -g
        if self.scaled:
            g = g * numbers.scale
        moved, new = self.rule.step(x, g, s, numbers.lr)
        extra = dict(extra)
        if LOST in extra:
            moved, extra[LOST] = compensated(x, moved - x, extra[LOST])
        if AVERAGE in extra:
            extra[AVERAGE] = moved + numbers.decay * (extra[AVERAGE] - moved)
        return StepResult(moved, new, extra, (moved - x).square().sum() if self.norms else None)


class StepResult(NamedTuple):
    """What a pass leaves."""

    x: Tensor
    s: Any
    extra: dict[str, Tensor]
    moved: Tensor | None  # (), squared length of the update, where it is measured


def compensated(x: Tensor, update: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
    """An update of weights in bfloat16, with what rounding lost carried on; all in a wider type.

    ```
    lost = bf16(lost + update)
    x'   = bf16(x + lost)
    lost = bf16(lost + (x - x'))
    ```

    Source: W. Kahan 1965, "Further remarks on reducing truncation errors"; Zamirai et al. 2020, arXiv:2010.06192, for
    weights in bfloat16.

    Example:
        >>> x = lost = torch.tensor(1.0)
        >>> lost = 0 * lost
        >>> for _ in range(100):
        ...     x, lost = compensated(x, torch.tensor(-1e-4), lost)
        >>> x.item()
        0.98828125
    """
    lost = _bf16(lost + update)
    moved = _bf16(x + lost)
    return moved, _bf16(lost + (x - moved))


def _bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


@cache
def fields_of(rule: Rule) -> dict[str, bool]:
    """The fields of a rule's state; True for those like x, False for single numbers."""
    fresh = rule.init(torch.zeros(12))
    return {name: value.dim() > 0 for name, value in zip(fresh._fields, fresh, strict=True)}


def widest(*tensors: Tensor) -> torch.dtype:
    """The type to compute in: one that holds all of them, where any is below 32 bits and one is
    not.
    """
    return reduce(
        torch.promote_types, [value.dtype for value in tensors if value.is_floating_point()]
    )

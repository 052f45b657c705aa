"""Convert a live torch optimizer to this package's class of the same name."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.optim.torch_classes import TORCH_CLASSES
from betaplane.optim.torch_compatible import TorchCompatible


def from_torch(optimizer: Optimizer, **options: Any) -> TorchCompatible:
    """Convert a live torch optimizer: the same parameters, groups, state and step counts.

    The state is shared, not copied, so keep using only one of the two. A learning-rate scheduler of the old optimizer
    keeps working, because the groups are shared as well.

    Args:
        optimizer: a torch.optim.SGD, Adagrad, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam or Adafactor.
        options: those that torch's class does not have (eps_at, clip, nonfinite, ...).

    Returns:
        This package's optimizer of the same name.

    Raises:
        BadInput: for any other optimizer.

    Example:
        >>> import torch
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> theirs = torch.optim.AdamW([p], lr=0.1)
        >>> p.grad = torch.tensor([0.1, -0.1])
        >>> theirs.step()
        >>> ours = from_torch(theirs, nonfinite="skip")
        >>> ours.step()
        >>> type(ours).__module__, ours.state[p]["step"].item(), p.data
        ('betaplane.optim.torch_classes', 2.0, tensor([ 0.7981, -1.7961]))
    """
    matches = [kind for kind in TORCH_CLASSES if type(optimizer) is kind.torch_class]
    if not matches:
        allowed = ", ".join(f"torch.optim.{kind.__name__}" for kind in TORCH_CLASSES)
        where, given = "from_torch", type(optimizer).__qualname__
        raise BadInput(
            "Cannot convert this optimizer: betaplane has no equivalent class",
            value=given,
            allowed=allowed,
            where=where,
        )
    fresh = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
    ours = matches[0](fresh, **options)
    for group, made in zip(optimizer.param_groups, ours.param_groups, strict=True):
        group.update(
            {
                name: made[name]
                for name in ours.variant_options
                if name in made and name not in group
            }
        )
    ours.param_groups, ours.state = optimizer.param_groups, optimizer.state
    return ours

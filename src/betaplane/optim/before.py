"""A hook before every step of every torch optimizer in the process."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle


def before_steps(act: Callable[[Optimizer], None]) -> RemovableHandle:
    """Call `act(optimizer)` before each step of every optimizer, until the handle is removed.

    Args:
        act: called with the optimizer that is about to step; its gradients are already clipped and unscaled.

    Returns:
        A handle; `handle.remove()` removes the hook.

    Example:
        >>> import torch
        >>> seen, p = [], torch.nn.Parameter(torch.ones(1))
        >>> handle = before_steps(lambda optimizer: seen.append(type(optimizer).__name__))
        >>> optimizer = torch.optim.SGD([p])
        >>> optimizer.step()
        >>> handle.remove()
        >>> optimizer.step()
        >>> seen
        ['SGD']
    """
    return register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: act(optimizer))

"""Be told before any torch optimizer takes a step, whichever it is."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle


def before_steps(act: Callable[[Optimizer], None]) -> RemovableHandle:
    """Call `act(optimizer)` before each step of every optimizer in the process, until the handle is
    removed.

    Args:
        act: is given the optimizer about to step; gradients are as the step will see them, clipped and unscaled.

    Returns:
        A handle; `handle.remove()` ends it.

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

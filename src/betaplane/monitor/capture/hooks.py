"""Calls around an optimizer's steps, whoever takes them: a loop, a closure, torch.amp, a compiled
step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

Closure = Callable[[], Any]
Args = tuple[Any, ...]

# a compiled step breaks there, where tracing would take in all of watching
uncompiled: Any = torch.compiler.disable


class Hooks:
    """Calls `before` at each step, once its gradients are there, and `after` once it is taken.

    Where the step is given a closure, gradients are there after its first call. A step that torch.amp leaves out, for
    gradients that are not finite, is no step.

    Args:
        optimizer: whose steps.
        before: before(loss); what the closure returned, None without one.
        after: after().

    Example:
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.Adam([p])
        >>> hooks = Hooks(optimizer, lambda loss: print(loss, p.grad), lambda: print("taken"))
        >>> def closure():
        ...     p.square().sum().backward()
        ...     return 1.0
        >>> loss = optimizer.step(closure)
        1.0 tensor([2.])
        taken
    """

    def __init__(
        self, optimizer: Optimizer, before: Callable[[Any], None], after: Callable[[], None]
    ) -> None:
        self.optimizer, self.before, self.after, self.begun = optimizer, before, after, False
        self.cuda = torch.cuda.is_available()

        def pre(_: Any, args: Args, kwargs: dict[str, Any]) -> tuple[Args, dict[str, Any]] | None:
            if (
                torch.compiler.is_compiling()
            ):  # asked here, since the way around tracing costs a step that is not traced
                return slow_pre(args, kwargs)
            if kwargs or len(args) > 1 or self.cuda:
                return self._pre(args, kwargs)
            self._begin(None)  # without a closure, as most steps are
            return None

        def post(*_: Any) -> None:
            slow_post() if torch.compiler.is_compiling() else self._post()

        slow_pre, slow_post = uncompiled(self._pre), uncompiled(self._post)
        self.handles = [
            optimizer.register_step_pre_hook(pre),
            optimizer.register_step_post_hook(post),
        ]

    def close(self) -> None:
        """Call no more."""
        for handle in self.handles:
            handle.remove()

    def _pre(self, args: Args, kwargs: dict[str, Any]) -> tuple[Args, dict[str, Any]] | None:
        self.begun = False
        if self.cuda and torch.cuda.is_current_stream_capturing():
            return None  # nothing may be waited for, and a replay calls no hook
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._begin(None)
            return None
        if "closure" in kwargs:
            return args, {**kwargs, "closure": self._told(closure)}
        return (*args[:1], self._told(closure), *args[2:]), kwargs

    def _post(self) -> None:
        if self.begun:
            self.begun = False
            self.after()

    def _told(self, closure: Closure) -> Closure:
        """A closure whose first call tells that gradients are there."""

        def told() -> Any:
            loss = closure()
            if not self.begun:
                self._begin(loss)
            return loss

        return told

    def _begin(self, loss: Any) -> None:
        self.begun = not left_out(self.optimizer)
        if self.begun:
            self.before(loss)


def left_out(optimizer: Optimizer) -> bool:
    """Whether torch.amp found gradients that are not finite, and leaves it to the optimizer to take
    no step.
    """
    found = getattr(optimizer, "found_inf", None)
    # waits for the device, as torch.amp does where a step is not fused
    return found is not None and bool(found)


def scale(optimizer: Optimizer) -> float:
    """What gradients are still multiplied by where torch.amp leaves it to the optimizer's step to
    divide them.
    """
    found = getattr(optimizer, "grad_scale", None)
    return 1.0 if found is None else float(found)


def clipped(optimizer: Optimizer) -> float:
    """What the last step multiplied gradients by without writing them, in (0, 1]: ours do, where
    `max_norm` is set.
    """
    norms, most = getattr(optimizer, "norms", None), getattr(optimizer, "max_norm", None)
    return 1.0 if norms is None or most is None else min(1.0, most / (norms.gradient + 1e-6))

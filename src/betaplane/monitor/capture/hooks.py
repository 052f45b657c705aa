"""Callbacks before and after each optimizer step (loop, closure, torch.amp, compiled)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

Closure = Callable[[], Any]
Args = tuple[Any, ...]

# breaks the graph of a compiled step, which would otherwise trace the whole monitor
uncompiled: Any = torch.compiler.disable


class Hooks:
    """Call `before` at each step when its gradients are ready, and `after` when it is done.

    If the step gets a closure, gradients are ready after its first call. Steps that torch.amp
    skips because gradients are not finite do not count.

    Args:
        optimizer: its steps are observed.
        before: before(loss), with the closure's result, or None without a closure.
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
        self.optimizer = optimizer
        self.before = before
        self.after = after
        self.in_step = False
        self.cuda = torch.cuda.is_available()

        def pre(_: Any, args: Args, kwargs: dict[str, Any]) -> tuple[Args, dict[str, Any]] | None:
            # checked here because `uncompiled` adds a cost to every step that is not compiled
            if torch.compiler.is_compiling():
                return uncompiled_pre(args, kwargs)
            if kwargs or len(args) > 1 or self.cuda:
                return self._pre(args, kwargs)
            self._begin(None)  # no closure, as in most steps
            return None

        def post(*_: Any) -> None:
            uncompiled_post() if torch.compiler.is_compiling() else self._post()

        uncompiled_pre = uncompiled(self._pre)
        uncompiled_post = uncompiled(self._post)
        self.handles = [
            optimizer.register_step_pre_hook(pre),
            optimizer.register_step_post_hook(post),
        ]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()

    def _pre(self, args: Args, kwargs: dict[str, Any]) -> tuple[Args, dict[str, Any]] | None:
        self.in_step = False
        if self.cuda and torch.cuda.is_current_stream_capturing():
            return None  # a captured graph must not synchronize, and its replay calls no hooks
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._begin(None)
            return None
        if "closure" in kwargs:
            return args, {**kwargs, "closure": self._observed(closure)}
        return (*args[:1], self._observed(closure), *args[2:]), kwargs

    def _post(self) -> None:
        if self.in_step:
            self.in_step = False
            self.after()

    def _observed(self, closure: Closure) -> Closure:
        """A closure whose first call also calls `before`."""

        def observed() -> Any:
            loss = closure()
            if not self.in_step:
                self._begin(loss)
            return loss

        return observed

    def _begin(self, loss: Any) -> None:
        self.in_step = not is_skipped(self.optimizer)
        if self.in_step:
            self.before(loss)


def is_skipped(optimizer: Optimizer) -> bool:
    """Whether torch.amp found non-finite gradients and makes the optimizer skip this step."""
    found_inf = getattr(optimizer, "found_inf", None)
    # synchronizes with the device, as torch.amp does if a step is not fused
    return found_inf is not None and bool(found_inf)


def gradient_scale(optimizer: Optimizer) -> float:
    """The factor still in the gradients if torch.amp lets the optimizer's step divide it out."""
    grad_scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if grad_scale is None else float(grad_scale)


def clip_factor(optimizer: Optimizer) -> float:
    """The factor by which the last step clipped gradients without writing them, in (0, 1].

    This package's optimizers do so if `max_norm` is set.
    """
    norms = getattr(optimizer, "norms", None)
    max_norm = getattr(optimizer, "max_norm", None)
    if norms is None or max_norm is None:
        return 1.0
    return min(1.0, max_norm / (norms.gradient + 1e-6))

"""Call the step of a torch class on explicit groups, without changing the optimizer's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.tensors.memory_layout import align_state, copy_in_layout, same_layout


def torch_step(
    optimizer: Any, groups: list[tuple[dict[str, Any], bool]], states: dict[Tensor, Any]
) -> None:
    """Step groups by torch's class.

    A shallow copy of the optimizer has these groups and states, so that `param_groups` of the
    optimizer itself stays
    complete: tensor hooks, other threads and debuggers may read it during the step.

    Args:
        optimizer: one of this package's.
        groups: param groups, each with whether the fused kernel steps it.
        states: torch's state of each parameter.
    """
    fused = [p for group, is_fused in groups if is_fused for p in group["params"]]
    param_groups = []
    for group, is_fused in groups:
        if is_fused or group.get("fused"):
            group = {**group, "fused": is_fused}
        param_groups.append(group)
    view = object.__new__(type(optimizer))
    view.__dict__.update(optimizer.__dict__, param_groups=param_groups, state=states)
    with _aligned(fused, states):
        unhooked_step(optimizer.torch_class)(view)
    flags = {k: v for k, v in view.__dict__.items() if k not in ("param_groups", "state")}
    optimizer.__dict__.update(flags)  # torch remembers what it has checked or warned of


@contextmanager
def _aligned(params: list[Tensor], states: dict[Tensor, Any]) -> Iterator[None]:
    """Lay out the gradients and states of parameters as the parameters are; the gradients for one
    step.
    """
    replaced = []
    try:
        for p in params:
            align_state(states.get(p, {}), p)
            if p.grad is not None and not same_layout(p.grad, p):
                replaced.append((p, p.grad))
                p.grad = copy_in_layout(p.grad, p)
        yield
    finally:
        for p, g in replaced:
            p.grad = g


def unhooked_step(torch_class: type[Optimizer]) -> Callable[..., Any]:
    """The step of a torch class without the hooks that torch wraps around it; ours has them
    already.
    """
    step = torch_class.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step  # pyright: ignore

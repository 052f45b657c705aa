"""Checks of parameters, options and closures, before optimizers are created and before they step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, expect_function
from betaplane.tensors import param_names
from betaplane.tensors.dtensor import local_tensor

FLOATING = (
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
)
NONFINITE = ("pass", "raise", "skip")
POSITION = "parameter {index} of group {group}"  # in place of a name


def loss_of(closure: Callable[[], Any] | None) -> Any:
    """The closure's loss, computed with gradients enabled; None without a closure."""
    if closure is None:
        return None
    expect_function(closure, "closure", "optimizer.step(closure)", "step")
    with torch.enable_grad():
        return closure()


def named_parameters(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Every parameter with its name, or its position if it has no name."""
    for name, p, _ in param_names.named_parameters(optimizer, position=POSITION):
        yield name, p


def check_eps(options: Mapping[str, Any], p: Tensor) -> None:
    """Raise BadInput if eps is 0 in the dtype of the state: with 1e-8 in float16, a zero gradient
    gives 0 / 0.
    """
    eps = options.get("eps") if options.get("storage", "parameter") == "parameter" else None
    if (
        isinstance(eps, float)
        and eps > 0
        and p.dtype == torch.float16
        and not torch.tensor(eps, dtype=p.dtype)
    ):
        raise BadInput(
            "eps is zero in the type of the optimizer's state",
            value=eps,
            allowed="[6e-8, inf) for float16",
            where=f"a float16 parameter of shape {tuple(p.shape)}",
            instead='eps=1e-6, or storage="float32"',
        )


def check_some(groups: list[Any]) -> None:
    """Raise BadInput if there are no parameters, or only groups without any."""
    if not any(not isinstance(entry, dict) or _may_have_params(entry) for entry in groups):
        raise BadInput(
            "There are no parameters",
            allowed="at least 1",
            where="params",
            instead="params=model.parameters()",
        )


def _may_have_params(group: dict[str, Any]) -> bool:
    params = group.get("params")
    return not isinstance(params, list | tuple) or bool(params)


def check_floating(params: list[Tensor]) -> None:
    """Raise BadInput unless all parameters are floating-point, real or complex."""
    for p in params:
        if p.dtype not in FLOATING:
            raise BadInput(
                "A parameter is not of floating point",
                value=p.dtype,
                allowed="float64, float32, bfloat16, float16 or complex",
                where=f"a parameter of shape {tuple(p.shape)}",
                instead="parameter.float()",
            )


def check_lr(lr: float | Tensor) -> None:
    """Raise BadInput unless lr is a single number in [0, inf)."""
    is_single = lr.numel() == 1 if isinstance(lr, Tensor) else True
    if not is_single or not 0 <= float(lr.detach() if isinstance(lr, Tensor) else lr) < float(
        "inf"
    ):
        raise BadInput(
            "lr is out of range",
            value=lr,
            allowed="[0, inf)",
            where="the optimizer",
            instead="lr=0.001",
        )


def warn_of_losses(optimizer: Any) -> None:
    """Warn if bfloat16 weights are so large that an update of the size of lr rounds to zero.

    Half a step of bfloat16 is 2^-9 of a number just above a power of two. Rules whose updates are not of the size of lr
    (SGD) are skipped.
    """
    lost, largest = [], 0.0
    for group in optimizer.param_groups:
        rule = optimizer.rule_of(group)
        if group.get("rounding", "nearest") != "nearest" or not rule.laws.scale_free:
            continue
        for p in group["params"]:
            if p.dtype == torch.bfloat16 and p.numel():
                rms = (
                    float(local_tensor(p).detach().norm(dtype=torch.float64))
                    / local_tensor(p).numel() ** 0.5
                )
                half = 2.0 ** (math.frexp(rms)[1] - 9) if rms else 0.0
                if float(group["lr"]) < half:
                    lost.append(p)
                    largest = max(largest, half)
    if lost:
        warnings.warn(
            f"{type(optimizer).__name__}: in {len(lost)} bfloat16 parameters updates of the size of lr round to zero "
            f'(half a step of the weights there is up to {largest:.2g}): write rounding="kahan" or "stochastic".',
            stacklevel=4,  # the caller of the constructor, which `explain_calls` wraps
        )


TORCH_ERRORS = {  # beginning of torch's message -> what is allowed, what to write instead
    "optimizer got an empty": ("at least 1 parameter", "params=model.parameters()"),
    "Invalid learning rate": ("[0, inf)", "lr=0.001"),
    "Invalid epsilon": ("[0, inf)", "eps=1e-8"),
    "Invalid beta": ("[0, 1)", "betas=(0.9, 0.999)"),
    "Invalid weight_decay": ("[0, inf)", "weight_decay=0.01"),
    "Invalid momentum": ("[0, inf)", "momentum=0.9"),
    "Invalid alpha": ("[0, inf)", "alpha=0.99"),
    "Learning rate should": ("[0, inf)", "lr=0.01"),
    "beta2_decay should": ("(-inf, 0]", "beta2_decay=-0.8"),
    "Clipping threshold": ("[1, inf)", "d=1.0"),
    "can't optimize a non-leaf": ("leaf tensors", "parameter.detach().requires_grad_()"),
    "some parameters appear in more": ("each parameter in one group", ""),
    "all optimizer params should be": ("a name for each or for none", "model.named_parameters()"),
    "all optimizer param groups should": (
        "names in each group or in none",
        '{"params": model.named_parameters()}',
    ),
}


def explained(error: ValueError, where: str) -> BadInput:
    """Torch's message, completed by what is allowed and what to write instead."""
    for start, (allowed, instead) in TORCH_ERRORS.items():
        if str(error).startswith(start):
            return BadInput(str(error), allowed=allowed, where=where, instead=instead)
    return BadInput(str(error), where=where)

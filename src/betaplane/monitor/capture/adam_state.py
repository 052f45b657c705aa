"""Adam's moments, step count and hyperparameters, read from any optimizer that stores them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.monitor.capture.quantized import Quantized, wrap_quantized
from betaplane.tensors.dtensor import local_tensor
from betaplane.theory import radam_warmup

M, V = "exp_avg", "exp_avg_sq"
BITSANDBYTES_KEYS = {M: "state1", V: "state2"}
READABLE_DTYPES = (
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
)


class StepValues(NamedTuple):
    """The hyperparameters of one parameter group, as plain numbers."""

    lr: float
    beta1: float  # in [0, 1)
    beta2: float  # in [0, 1)
    eps: float  # gradient units, >= 0


class MomentState(NamedTuple):
    """The optimizer state of one parameter."""

    m: Tensor | Quantized | None  # like x, gradient units; None before the first step
    v: Tensor | Quantized | None  # like x, gradient units squared
    t: float  # steps counted, 0 before the first
    stochastic: bool  # v is stored with stochastic rounding, and may not change in a step

    @property
    def readable(self) -> bool:
        """Whether both moments are present, in a float dtype or in a known 8-bit format."""
        return all(
            isinstance(moment, Quantized)
            or (moment is not None and moment.dtype in READABLE_DTYPES)
            for moment in (self.m, self.v)
        )

    @property
    def description(self) -> str:
        """What the state contains instead of readable moments, for a warning."""
        missing = [key for key, moment in ((M, self.m), (V, self.v)) if moment is None]
        if missing:
            return f"no {missing[0]} of its shape"
        v: Any = self.v
        return f"{type(v).__name__} of {v.dtype}"


def step_values(group: Mapping[str, Any]) -> StepValues:
    """A group's learning rate, betas and eps, with Adam's defaults for missing entries.

    Entries that are no number, such as the eps (None, 0.001) of Adafactor, count as missing. The
    learning rate is nan if the group has none.

    Example:
        >>> optimizer = torch.optim.Adafactor([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1)
        >>> step_values(optimizer.param_groups[0])
        StepValues(lr=0.1, beta1=0.9, beta2=0.999, eps=1e-08)
    """
    betas = group.get("betas")
    first, second = (
        betas[:2] if isinstance(betas, (tuple, list)) and len(betas) > 1 else (None, None)
    )
    beta1, beta2 = _number(first, 0.9), _number(second, 0.999)
    eps = group.get("eps")
    eps = eps[0] if isinstance(eps, tuple) else eps
    return StepValues(_number(group.get("lr"), math.nan), beta1, beta2, _number(eps, 1e-8))


def _number(value: Any, default: float) -> float:
    """A number or a tensor of one element as a float; anything else is the default."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else default
    return float(value) if isinstance(value, Real) else default


def with_warmup(values: StepValues, optimizer: Optimizer, t: float) -> StepValues:
    """The values with the effective learning rate of step t.

    RAdam multiplies lr by its own warmup; it is detected by class name.

    Example:
        >>> optimizer = torch.optim.RAdam([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> values = step_values(optimizer.param_groups[0])
        >>> [round(with_warmup(values, optimizer, t).lr, 4) for t in (1, 6, 1000, 100_000)]
        [0.0, 0.0026, 0.0645, 0.1]
    """
    if t >= 1 and _is_a(optimizer, "RAdam"):
        return values._replace(lr=values.lr * _rectification(t, values.beta2))
    return values


@lru_cache(maxsize=256)
def _rectification(t: float, beta2: float) -> float:
    factor = float(radam_warmup(t, beta2))
    return factor if factor >= 0 else 0.0  # nan at the first steps, which do not divide by sqrt(v)


def decay_per_step(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """The share of a weight that decoupled weight decay removes per step; 0 for L2 decay.

    Example:
        >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.2)
        >>> round(decay_per_step(optimizer, optimizer.param_groups[0]), 4)
        0.02
    """
    weight_decay = float(group.get("weight_decay") or 0.0)
    decoupled = group.get("decoupled_weight_decay", _is_a(optimizer, "AdamW"))
    mode = group.get("decay", "decoupled" if decoupled else "l2")
    shares = {"decoupled": weight_decay * float(group["lr"]), "independent": weight_decay}
    return shares.get(mode, 0.0)


def _is_a(optimizer: Optimizer, class_name: str) -> bool:
    return any(base.__name__ == class_name for base in type(optimizer).__mro__)


def moment_state(optimizer: Optimizer, p: Tensor, group: Mapping[str, Any]) -> MomentState:
    """A parameter's moments and its step count.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.Adam([p])
        >>> p.grad = torch.ones(2)
        >>> optimizer.step()
        >>> m, v, t, _ = moment_state(optimizer, p, optimizer.param_groups[0])
        >>> [round(x, 4) for x in m.tolist()], t
        ([0.1, 0.1], 1.0)
    """
    state = optimizer.state.get(p, {})
    t = state.get("step", group.get("step", 0))
    stochastic = group.get("storage", "parameter") != "parameter"
    m, v = (_moment(optimizer, p, group, state, key) for key in (M, V))
    return MomentState(m, v, float(t), stochastic)


def _moment(
    optimizer: Optimizer, p: Tensor, group: Mapping[str, Any], state: Mapping[str, Any], key: str
) -> Any:
    """One moment, under torch's key or bitsandbytes'; None unless it has the parameter's shape."""
    key = key if key in state else BITSANDBYTES_KEYS[key]
    if getattr(state.get(key), "shape", None) != p.shape:
        return None
    return wrap_quantized(local_tensor(state[key]), optimizer, p, group, key)


def unwrap(optimizer: Any) -> Any:
    """The optimizer inside the wrappers of Accelerate, Lightning and others.

    Example:
        >>> class Wrapper:
        ...     optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
        >>> type(unwrap(Wrapper()))
        <class 'torch.optim.adam.Adam'>
    """
    inner = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    return inner if isinstance(inner, Optimizer) else optimizer


def is_resumed(optimizer: Optimizer) -> bool:
    """Whether an optimizer has counted steps already."""
    return any(_number(state.get("step"), 0.0) > 0 for state in optimizer.state.values())


def has_moments(optimizer: Optimizer) -> bool:
    """Whether an optimizer stores Adam's two moments, or will after its first step."""
    states = [state for state in optimizer.state.values() if state]
    stored = any(V in state or BITSANDBYTES_KEYS[V] in state for state in states)
    return any("betas" in group for group in optimizer.param_groups) and (stored or not states)


def check_watchable(optimizer: Any) -> None:
    """Raise BadInput if this is not an optimizer."""
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise BadInput(
            "watch() needs an optimizer",
            value=name,
            allowed="a torch.optim.Optimizer",
            where="watch",
        )

"""Adam's moments in any torch optimizer that keeps them under torch's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.monitor.capture.quantized import Quantized, decoded
from betaplane.theory import radam_warmup

M, V = "exp_avg", "exp_avg_sq"
WORDS = {M: "state1", V: "state2"}  # bitsandbytes' words
FORMATS = (
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
)


class StepValues(NamedTuple):
    """The hyperparameters of one parameter's group, as plain numbers."""

    lr: float
    beta1: float  # in [0, 1)
    beta2: float  # in [0, 1)
    eps: float  # gradient units, >= 0


class MomentState(NamedTuple):
    """What an optimizer keeps for one parameter."""

    m: Tensor | Quantized | None  # like x, gradient units; None before the first step
    v: Tensor | Quantized | None  # like x, gradient units squared
    t: float  # steps counted, 0 before the first
    rounds_at_random: bool  # v keeps its mean in a narrow type, and may stand still in a step

    @property
    def readable(self) -> bool:
        """Whether the moments are there, in numbers or in codes of a known kind."""
        return all(
            isinstance(x, Quantized) or (x is not None and x.dtype in FORMATS)
            for x in (self.m, self.v)
        )

    @property
    def kind(self) -> str:
        """What the moments are, in words."""
        missing = [word for word, moment in ((M, self.m), (V, self.v)) if moment is None]
        kind: Any = self.v
        return f"no {missing[0]} like it" if missing else f"{type(kind).__name__} of {kind.dtype}"


def named(
    optimizer: Optimizer, names: Mapping[Tensor, str] | None = None
) -> Iterator[tuple[str, Tensor, Mapping[str, Any]]]:
    """Each parameter with its name (or "group.place") and its group.

    Args:
        optimizer: whose parameters.
        names: of parameters that the optimizer has no names of.

    Example:
        >>> optimizer = torch.optim.Adam(torch.nn.Linear(2, 1).named_parameters())
        >>> [name for name, _, _ in named(optimizer)]
        ['weight', 'bias']
    """
    given = names or {}
    for i, group in enumerate(optimizer.param_groups):
        known = group.get("param_names") or [f"{i}.{j}" for j in range(len(group["params"]))]
        for name, p in zip(known, group["params"], strict=True):
            yield given.get(p, name), p, group


class Names(dict[Tensor, str]):
    """A name for every parameter that an optimizer has or comes to have: no two alike, and none
    ever another's.

    Args:
        optimizer: whose parameters.
        given: names of some; others have the optimizer's own, or their place.

    Example:
        >>> encoder, decoder = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
        >>> groups = [{"params": module.named_parameters()} for module in (encoder, decoder)]
        >>> [*Names(torch.optim.Adam(groups)).values()]
        ['weight', 'weight (2)']
    """

    def __init__(self, optimizer: Optimizer, given: Mapping[Tensor, str] | None = None) -> None:
        super().__init__()
        self.optimizer, self.own = optimizer, dict(given or {})
        self.grow()

    def grow(self) -> None:
        """Name the parameters that were added since."""
        if all(p in self for group in self.optimizer.param_groups for p in group["params"]):
            return
        taken = set(self.values())
        for name, p, _ in named(self.optimizer, self.own):
            if p not in self:
                self[p] = _free(name, taken)
                taken.add(self[p])


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is another's."""
    if name not in taken:
        return name
    return next(f"{name} ({i})" for i in count(2) if f"{name} ({i})" not in taken)


def numbers(group: Mapping[str, Any]) -> StepValues:
    """A group's learning rate, betas and eps; Adam's defaults for what it lacks."""
    beta1, beta2 = (float(beta) for beta in tuple(group.get("betas", (0.9, 0.999)))[:2])
    eps = group.get("eps", 1e-8)
    return StepValues(
        float(group["lr"]), beta1, beta2, float(eps[0] if isinstance(eps, tuple) else eps)
    )


def warmed(now: StepValues, optimizer: Optimizer, t: float) -> StepValues:
    """The same with the learning rate of step t: RAdam multiplies it by a warmup of its own, and is
    told by its name.

    Example:
        >>> optimizer = torch.optim.RAdam([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> now = numbers(optimizer.param_groups[0])
        >>> [round(warmed(now, optimizer, t).lr, 4) for t in (1, 6, 1000, 100_000)]
        [0.0, 0.0026, 0.0645, 0.1]
    """
    rectified = any(kind.__name__ == "RAdam" for kind in type(optimizer).__mro__)
    return now._replace(lr=now.lr * _rectification(t, now.beta2)) if rectified and t >= 1 else now


@lru_cache(maxsize=256)
def _rectification(t: float, beta2: float) -> float:
    by = float(radam_warmup(t, beta2))
    return by if by >= 0 else 0.0  # nan at the first steps, which do not divide by sqrt(v)


def shrink(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """The share of themselves that weight decay takes from weights in a step; 0 where it is a part
    of the update.

    Example:
        >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.2)
        >>> round(shrink(optimizer, optimizer.param_groups[0]), 4)
        0.02
    """
    decay = float(group.get("weight_decay") or 0.0)
    usual = any(kind.__name__ == "AdamW" for kind in type(optimizer).__mro__)
    how = group.get("decay", "decoupled" if group.get("decoupled_weight_decay", usual) else "l2")
    return {"decoupled": decay * float(group["lr"]), "independent": decay}.get(how, 0.0)


def held(optimizer: Optimizer, p: Tensor, group: Mapping[str, Any]) -> MomentState:
    """A parameter's moments and its count of steps.

    Example:
        >>> p = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.Adam([p])
        >>> p.grad = torch.ones(2)
        >>> optimizer.step()
        >>> m, v, t, _ = held(optimizer, p, optimizer.param_groups[0])
        >>> [round(x, 4) for x in m.tolist()], t
        ([0.1, 0.1], 1.0)
    """
    state = optimizer.state.get(p, {})
    words = [word if word in state else WORDS[word] for word in (M, V)]
    like_p = [word if getattr(state.get(word), "shape", None) == p.shape else "" for word in words]
    m, v = (decoded(local(state.get(word)), optimizer, p, group, word) for word in like_p)
    t = state.get("step", group.get("step", 0))
    return MomentState(m, v, float(t), group.get("storage", "parameter") != "parameter")


def local(x: Any) -> Any:
    """This process's part of a sharded tensor; other tensors as they are."""
    return x.to_local() if hasattr(x, "to_local") else x


def unwrapped(optimizer: Any) -> Any:
    """The optimizer that takes the steps, inside what Accelerate, Lightning and others wrap around
    it.

    Example:
        >>> class Wrapper:
        ...     optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
        >>> type(unwrapped(Wrapper()))
        <class 'torch.optim.adam.Adam'>
    """
    inner = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    return inner if isinstance(inner, Optimizer) else optimizer


def check(optimizer: Any) -> None:
    """Raise BadInput where an optimizer keeps no two moments, so that there is nothing to watch."""
    where = "watch"
    if not isinstance(optimizer, Optimizer):
        allowed = "a torch.optim.Optimizer"
        raise BadInput(
            "This is no optimizer", value=type(optimizer).__name__, allowed=allowed, where=where
        )
    known = any("betas" in group for group in optimizer.param_groups)
    states = [state for state in optimizer.state.values() if state]
    if not known or (states and not any(V in state or WORDS[V] in state for state in states)):
        raise BadInput(
            "The optimizer keeps no moments that can be watched",
            value=type(optimizer).__name__,
            allowed=f"betas in its groups, {M} and {V} in its state",
            where=where,
            instead="betaplane.watch(torch.optim.AdamW(model.parameters()))",
        )

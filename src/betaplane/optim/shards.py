"""A step of sharded parameters: a process steps its own part where the rule goes number by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from betaplane.optim.guard import check_eps
from betaplane.optim.mesh import local, on_mesh, placed
from betaplane.optim.update import STATE, estimate, update
from betaplane.rules import Rule

aten = torch.ops.aten
CREATES = {aten._to_copy, aten.clone, aten.scalar_tensor, aten.zeros_like, aten.ones_like, aten.full_like}
KNOWN: dict[tuple, bool] = {}  # kinds of rules: whether they go number by number
GATHERED: set[tuple] = set()  # rules and placements that torch's DTensor cannot compute


class Part:
    """What this process holds of a sharded parameter: x, a plain tensor in the same memory, and its state.

    A process may hold nothing. Then x is a stand-in of one number without a gradient, so that steps are counted and
    states made there as elsewhere.
    """

    def __init__(self, p: Any) -> None:
        self.p, self.home, self.held = p, local(p), {}
        self.empty = self.home.numel() == 0
        self.x = self.home.new_zeros((1,) * self.home.dim()) if self.empty else self.home.detach()

    def fits(self) -> bool:
        """Whether the parameter lies where it lay."""
        home = local(self.p)
        same = home.shape == self.home.shape and home.stride() == self.home.stride() and home.dtype == self.home.dtype
        return same and home.data_ptr() == self.home.data_ptr()

    def take(self, held: Mapping[str, Any]) -> None:
        """Bring in the gradient and the parameter's state."""
        self.x.grad = None if self.p.grad is None else self.part(self.p.grad)
        for word in set(self.held) - set(held):
            del self.held[word]
        for word, value in held.items():
            if not (self.empty and word in self.held and _like(value, self.p)):
                self.held[word] = self.part(value) if _like(value, self.p) else value

    def part(self, value: Tensor) -> Tensor:
        """The part of a tensor like the parameter that belongs to x."""
        found = local(placed(value, self.p))
        return torch.zeros_like(self.x, dtype=found.dtype) if self.empty else found

    def give(self, held: dict[str, Any]) -> None:
        """Put into the parameter's state what is new; the rest has been changed in place."""
        for word in set(held) - set(self.held):
            del held[word]
        for word, value in self.held.items():
            old: Any = held.get(word)
            if not on_mesh(old) or not (self.empty or local(old) is value):
                held[word] = self.whole(value) if isinstance(value, Tensor) and value.dim() else value
        self.x.grad = None

    def whole(self, value: Tensor) -> Any:
        """The tensor like the parameter of which value is this process's part."""
        from torch.distributed.tensor import DTensor

        value = value.new_empty(self.home.shape) if self.empty else value
        mesh, placements = self.p.device_mesh, self.p.placements
        return DTensor.from_local(value, mesh, placements, run_check=False, shape=self.p.shape, stride=self.p.stride())


def _like(value: Any, p: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == p.shape and (value.dim() > 0 or on_mesh(value))


@contextmanager
def sharded(optimizer: Any) -> Iterator[None]:
    """For one step, parameters on a mesh give way to the parts of them that this process holds.

    Where the rule needs more than its own number (a mean over a tensor, rows, columns), the step is taken here, on the
    whole tensor.

    Args:
        optimizer: with `rule_of(group)`.
    """
    groups, states = optimizer.param_groups, optimizer.state
    if not any(on_mesh(p) for group in groups for p in group["params"]):
        yield
        return
    parts = _parts(optimizer)
    for p, part in parts.items():
        part.take(states.get(p, {}))
    optimizer.param_groups = [
        {**group, "params": [parts[p].x if p in parts else p for p in group["params"] if p in parts or _left(group, p)]}
        for group in groups
    ]
    kept = {p: held for p, held in states.items() if p not in parts}
    optimizer.state = defaultdict(dict, kept | {part.x: part.held for part in parts.values()})
    try:
        yield
    finally:
        stepped, optimizer.param_groups, optimizer.state = optimizer.state, groups, states
        for p, part in parts.items():
            part.held = stepped.pop(part.x)
            part.give(states[p])
        states.update(stepped)


def _left(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether a parameter is stepped as it is: it is plain, or gradients are to go through the step."""
    return not on_mesh(p) or bool(group.get("differentiable"))


@torch.no_grad()
def _parts(optimizer: Any) -> dict[Tensor, Part]:
    """The parts that go number by number, by parameter; the other parameters on a mesh are stepped."""
    before, found = optimizer.__dict__.get("_parts", {}), {}
    for group in optimizer.param_groups:
        spread = [p for p in group["params"] if not _left(group, p)]
        if not spread:
            continue
        rule = optimizer.rule_of(group)
        if by_number(rule):
            found |= {p: before[p] if p in before and before[p].fits() else Part(p) for p in spread}
            continue
        for p in spread:
            if p.grad is not None and p.numel() > 0:
                _step_whole(optimizer, rule, group, p)
    optimizer._parts = found
    return found


def by_number(rule: Rule) -> bool:
    """Whether every number of a parameter takes its step whatever the others do.

    Example:
        >>> from betaplane.rules import AdamW, StableAdamW
        >>> by_number(AdamW()), by_number(AdamW(clip=1.0)), by_number(StableAdamW())
        (True, False, False)
    """
    kind = _kind(rule)
    if kind not in KNOWN:
        plain = {name: float(value) for name, value in vars(rule).items() if isinstance(value, Tensor)}
        short, long = (_Calls.of(replace(rule, **plain), n) for n in (3, 6))
        KNOWN[kind] = short == long and all(_pointwise(function) for function, *_ in short)
    return KNOWN[kind]


def _kind(rule: Rule) -> tuple:
    """What of a rule decides which operations it is made of: of its numbers, only which are 0 or infinite."""
    values = [getattr(rule, field.name) for field in fields(rule)]
    counts = [isinstance(value, Tensor | float) and value not in (0, float("inf")) for value in values]
    return type(rule), *(None if count else value for value, count in zip(values, counts, strict=True))


class _Calls(TorchDispatchMode):
    """Notes torch's functions as they are called, with their arguments other than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note one, and call it."""
        self.calls.append((func, *(arg for arg in args if not isinstance(arg, Tensor))))
        return func(*args, **(kwargs or {}))

    @classmethod
    def of(cls, rule: Rule, n: int) -> list[tuple]:
        """Those of a step of n rows."""
        x = torch.zeros(n, 4)
        s, lr = rule.init(x), torch.tensor(0.1)
        with cls() as noted:
            rule.step(x, x.clone(), s, lr)
        return noted.calls


def _pointwise(function: Any) -> bool:
    return torch.Tag.pointwise in function.tags or function.overloadpacket in CREATES


def _step_whole(optimizer: Any, rule: Rule, group: Mapping[str, Any], p: Any) -> None:
    """One step of a parameter by a rule that looks at all of it."""
    state, words = optimizer.state[p], getattr(optimizer, "words", STATE)
    if not state:
        check_eps(group, p)
    held = {word: _settled(value, p) for word, value in getattr(optimizer, "_rules_state", dict)(state).items()}
    told = {"lr": group["lr"], "maximize": group["maximize"], "words": words}
    key = (_kind(rule), p.shape, p.placements)
    if key not in GATHERED:
        version = local(p)._version
        try:
            update(rule, p, placed(p.grad, p), held, **told)
        except (NotImplementedError, RuntimeError):  # an operation that DTensor lacks
            if local(p)._version != version:
                raise
            GATHERED.add(key)
    if key in GATHERED:
        _step_gathered(rule, p, held, told)
    held = {word: _settled(value, p) for word, value in held.items()}
    optimizer.state[p] = getattr(optimizer, "_torchs_state", dict)(held)


def _step_gathered(rule: Rule, p: Any, held: dict[str, Any], told: Mapping[str, Any]) -> None:
    """The same on every process, on the whole tensors, brought together for it."""
    x, g, *values = (value.full_tensor() if on_mesh(value) else value for value in (p, p.grad, *held.values()))
    state = dict(zip(held, values, strict=True))
    update(rule, x, g, state, **told)
    p.copy_(placed(x, p))
    held.update(state)


def _settled(value: Any, p: Any) -> Any:
    """A state as it is kept: like p, whole or by rows, on p's mesh; a number plain."""
    if not isinstance(value, Tensor):
        return value
    if value.dim() == 0:
        return value.full_tensor() if on_mesh(value) else value  # type: ignore[attr-defined]
    pending = not on_mesh(value) or value.shape == p.shape or any(one.is_partial() for one in value.placements)  # type: ignore[attr-defined]
    return placed(value, p) if pending else value


def estimate_part(rule: Any, p: Any, h: Tensor, held: dict[str, Any], words: Mapping[str, str] = STATE) -> None:
    """Take an estimate of the curvature of a parameter on a mesh into its state, in each process's own part."""
    part = Part(p)
    part.take(held)
    estimate(rule, part.x, part.part(h), part.held, words)
    part.give(held)

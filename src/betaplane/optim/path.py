"""Who steps a parameter by its rule: one compiled pass over memory, or the rule's operations one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from betaplane.errors import BadInput
from betaplane.optim.compiled import Kernel, Sweeper, kernel, laid_out, state_kinds
from betaplane.optim.update import STATE, count, update
from betaplane.rules import Rule

PATHS = ("auto", "eager", "compiled")
LARGE = 2**20  # numbers in all parameters from which compiling, some seconds once, is worth it
PLAIN = (Tensor, torch.nn.Parameter)
BROKEN: list[str] = []  # why this machine cannot compile, once that is known


def check_path(value: str) -> str:
    """`value`, if it is one of PATHS."""
    if value not in PATHS:
        allowed = " or ".join(map(repr, PATHS))
        raise BadInput("path is unknown", value=value, allowed=allowed, where="the optimizer", instead='path="auto"')
    return value


def chosen(path: str, params: list[Tensor]) -> str:
    """What a path means for these parameters: "eager" or "compiled"."""
    if path != "auto":
        return path
    large = sum(p.numel() for p in params) >= LARGE and all(p.device.type == "cpu" for p in params)
    return "compiled" if large and not BROKEN else "eager"


def sweeps(rule: Rule) -> bool:
    """Whether a rule can be compiled: its step does not depend on the parameter's shape."""
    return kernel(rule, (torch.float32,) * (2 + sum(state_kinds(rule).values())), False) is not None


def step_each(
    rule: Rule,
    params: list[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    lr: float | Tensor,
    *,
    path: str,
    maximize: bool,
    words: Mapping[str, str] = STATE,
) -> None:
    """Step every parameter that has a gradient, in place.

    Args:
        rule: the update rule.
        params: the parameters.
        states: torch's state of each; filled at its first step.
        lr: learning rate.
        path: "eager" or "compiled"; what cannot be compiled (rules of rows and columns, views) is stepped eagerly.
        maximize: step up instead of down.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    sweeper = Sweeper()
    for p in params:
        if p.grad is not None and not (
            path == "compiled" and _swept(sweeper, rule, p, states[p], lr, maximize=maximize, words=words)
        ):
            update(rule, p, p.grad, states[p], lr, maximize=maximize, words=words)


def _swept(
    sweeper: Sweeper, rule: Rule, p: Tensor, held: dict[str, Any], lr: Any, *, maximize: bool, words: Mapping[str, str]
) -> bool:
    """Step p with its kernel, if it has one."""
    usual = type(p) in PLAIN and p.is_floating_point() and p.numel() > 0 and p.dim() > 0
    if BROKEN or not usual or p.grad is None or p.grad.layout is not torch.strided:
        return False
    g = laid_out(p, held)
    found = _kernel(rule, p, held, maximize, words) if g is not None else None
    if found is None or g is None:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own imports
            sweeper.step(found, p, g, held, lr, words)
    except BackendCompilerFailed as error:  # before anything is written
        BROKEN.append(str(error).splitlines()[0])
        warnings.warn(f"This machine cannot compile ({BROKEN[0]}): steps are eager, and slower.", stacklevel=5)
        return False
    if "t" not in found.numbers:
        count(held)
    return True


def _kernel(rule: Rule, p: Tensor, held: dict[str, Any], maximize: bool, words: Mapping[str, str]) -> Kernel | None:
    """The kernel for p; its state is filled in first."""
    if any(isinstance(value, Tensor) for value in vars(rule).values()):
        return None
    kinds = {words.get(name, name): like_x for name, like_x in state_kinds(rule).items()}
    if any(word not in held for word in kinds):
        fresh = rule.init(p)
        for name, value in zip(fresh._fields, fresh, strict=True):
            held.setdefault(words.get(name, name), value)
    types = [held[word].dtype for word, like_x in kinds.items() if like_x]
    return kernel(rule, (p.dtype, p.grad.dtype, *types), maximize)  # type: ignore[union-attr]

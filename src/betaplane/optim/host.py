"""A rule as the fastest torch.optim.Optimizer that computes exactly it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane.optim.rule_optimizer import RuleOptimizer, check, check_group, check_lr, listed, options, tensors
from betaplane.rules import SGD, Adagrad, Adam, AdamW, AMSGrad, Rule


def host_optimizer(rule: Rule, params: ParamsT, lr: float | None = None) -> Optimizer:
    """The rule as torch's own optimizer where torch computes exactly it, else as a `RuleOptimizer`.

    Torch's own are Adam, AdamW, AMSGrad (its dialect, correction="after"), SGD and Adagrad on float32 or float64
    parameters; they agree with the rule to rounding. The fused kernel is taken where every parameter is contiguous,
    on CPU or CUDA; else torch chooses between its loops. Groups may change lr and, by the rule's names, its
    hyperparameters; where torch has another name for one (betas), that too makes it a `RuleOptimizer`.

    Args:
        rule: the update rule, with plain numbers as hyperparameters.
        params: parameters, (name, parameter) pairs or groups, as for any torch optimizer; real floating point.
        lr: learning rate, in [0, inf); the rule's own suggestion if left out.

    Returns:
        An optimizer over params.

    Raises:
        BadInput: for no parameters, a parameter that is not real floating point, or lr or a group's options out of
            range.

    Source: torch.optim; the equations are the rule's.

    Example:
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = host_optimizer(AdamW(beta2=0.95), [p], lr=0.1)
        >>> type(optimizer).__module__, optimizer.defaults["fused"]
        ('torch.optim.adamw', True)
        >>> p.square().sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([ 0.8990, -1.8980])
    """
    lr = rule.lr if lr is None else lr
    check_lr(lr)
    groups = listed(params)
    check(groups)
    for group in groups:
        check_group(rule, group if isinstance(group, dict) else {})
    found = tensors(groups)
    named = {word for group in groups if isinstance(group, dict) for word in group} & set(options(rule))
    own = _torchs_own(rule)
    if own is None or named - set(own[1]) or any(p.dtype not in (torch.float32, torch.float64) for p in found):
        return RuleOptimizer(groups, rule, lr)
    kind, words = own
    fused = all(p.is_contiguous() and p.device.type in ("cpu", "cuda") for p in found)
    optimizer = kind(groups, lr=lr, fused=fused, **words)
    if fused:
        optimizer.register_step_pre_hook(_align)
    return optimizer


def _torchs_own(rule: Rule) -> tuple[Callable[..., Optimizer], dict[str, Any]] | None:
    """Torch's class and options for this rule, or None where torch does not have it; a subclass may step otherwise."""
    if any(isinstance(getattr(rule, name), Tensor) for name in rule.hyperparameters()):
        return None
    if any(getattr(rule, option.name) != option.default for option in fields(rule) if option.kw_only):
        return None
    if type(rule) is SGD and not (rule.nesterov and rule.momentum == 0):  # which torch refuses
        words = {"momentum": rule.momentum, "dampening": rule.dampening, "nesterov": rule.nesterov}
        return torch.optim.SGD, {"weight_decay": rule.weight_decay, **words}
    if type(rule) is Adagrad:
        words = {"lr_decay": rule.lr_decay, "initial_accumulator_value": rule.initial_accumulator, "eps": rule.eps}
        return torch.optim.Adagrad, {"weight_decay": rule.weight_decay, **words}
    if type(rule) is Adam or type(rule) is AdamW:
        return (torch.optim.AdamW if type(rule) is AdamW else torch.optim.Adam), _adam_options(rule)
    if type(rule) is AMSGrad and rule.correction == "after":
        return torch.optim.Adam, {**_adam_options(rule), "amsgrad": True}
    return None


def _adam_options(rule: Adam | AdamW | AMSGrad) -> dict[str, Any]:
    return {"betas": (rule.beta1, rule.beta2), "eps": rule.eps, "weight_decay": rule.weight_decay}


def _align(optimizer: Optimizer, *_: object) -> None:
    """Before a fused step, lay gradients and states out as their parameter.

    torch 2.13's fused CPU kernels walk raw memory: where strides differ (a gradient set by hand, a state loaded from
    a channels_last model) they update the wrong elements and say nothing.
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.grad.stride() != p.stride() and not p.grad.is_sparse:
                p.grad = torch.empty_like(p).copy_(p.grad)
            held = optimizer.state.get(p, {})
            for word, value in held.items():
                if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                    held[word] = torch.empty_like(p).copy_(value)

"""A rule with its hyperparameters as the torch.optim.Optimizer that computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim.optimizer import Optimizer, ParamsT

from betaplane.optim import torch_classes
from betaplane.optim.as_rule import as_rule
from betaplane.optim.rule_from_group import BETAS
from betaplane.optim.rule_optimizer import optimizer_class
from betaplane.optim.torch_classes import CLASS_OF_RULE
from betaplane.rules import SGD, AMSGrad, Rule


def host_optimizer(rule: Rule | str | type, params: ParamsT, lr: float | None = None) -> Optimizer:
    """The optimizer that computes a rule: on torch's fused kernel if torch has one, else by the
    rule itself.

    Args:
        rule: the update rule, or what `as_rule` takes for one ("adamw", `betaplane.rules.AdamW`).
        params: parameters, (name, parameter) pairs or groups, as for any torch optimizer.
        lr: learning rate, in [0, inf); the rule's own suggestion if left out.

    Returns:
        An optimizer over params.

    Raises:
        BadInput: for no parameters, a parameter that is not of floating point, or options out of range.

    Source: torch.optim; the equations are the rule's.

    Example:
        >>> import torch
        >>> from betaplane.rules import AdamW
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = host_optimizer(AdamW(beta2=0.95), [p], lr=0.1)
        >>> type(optimizer), optimizer.param_groups[0]["betas"]
        (<class 'betaplane.optim.torch_classes.AdamW'>, (0.9, 0.95))
        >>> p.square().sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([ 0.8990, -1.8980])
    """
    rule = as_rule(rule)
    lr = rule.lr if lr is None else lr
    host, arguments = _class_and_arguments(rule)
    return host(params, lr=lr, **arguments)


def grouped_optimizer(groups: Sequence[tuple[list[Any], Rule, float]]) -> Optimizer:
    """The optimizer of parameter groups, each with its rule, of one class, and its learning rate.

    Args:
        groups: parameters, rule and learning rate of each group.

    Example:
        >>> import torch
        >>> from betaplane.rules import Adam
        >>> p, q = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
        >>> optimizer = grouped_optimizer([([p], Adam(), 0.1), ([q], Adam(beta2=0.95), 0.2)])
        >>> [(group["lr"], group["betas"]) for group in optimizer.param_groups]
        [(0.1, (0.9, 0.999)), (0.2, (0.9, 0.95))]
    """
    params, rule, lr = groups[0]
    if len(groups) == 1:
        return host_optimizer(rule, params, lr)
    host, arguments = _class_and_arguments(rule)
    given = [{"params": p, "lr": lr, **_class_and_arguments(rule)[1]} for p, rule, lr in groups]
    return host(given, lr=lr, **arguments)


def _class_and_arguments(rule: Rule) -> tuple[Callable[..., Optimizer], dict[str, Any]]:
    """The optimizer class that computes a rule, and its arguments besides parameters and lr."""
    arguments = options(rule)
    if type(rule) is AMSGrad and arguments["correction"] == "after":
        del arguments["correction"]
        return torch_classes.Adam, {"amsgrad": True, **arguments}
    torch_class = CLASS_OF_RULE.get(type(rule))
    if (
        torch_class is None
        or not torch_class.has_fused_kernel
        or (isinstance(rule, SGD) and rule.nesterov and rule.momentum == 0)
    ):  # torch rejects nesterov without momentum
        return optimizer_class(type(rule)), arguments
    names = torch_class.torch_options
    return torch_class, {names.get(name, name): value for name, value in arguments.items()}


def options(rule: Rule) -> dict[str, Any]:
    """The options of a rule, as an optimizer's arguments."""
    fields = rule.options()
    betas = tuple(fields.pop(name) for name in BETAS if name in fields)
    return {**({"betas": betas} if betas else {}), **fields}

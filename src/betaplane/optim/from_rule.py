"""A rule with its hyperparameters as the torch.optim.Optimizer that computes it."""

from __future__ import annotations

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
    arguments = options(rule)
    if type(rule) is AMSGrad and arguments.pop("correction") == "after":
        return torch_classes.Adam(params, lr=lr, amsgrad=True, **arguments)
    torch_class = CLASS_OF_RULE.get(type(rule))
    if (
        torch_class is None
        or not torch_class.has_fused_kernel
        or (isinstance(rule, SGD) and rule.nesterov and rule.momentum == 0)
    ):  # torch rejects nesterov without momentum
        return optimizer_class(type(rule))(params, lr=lr, **options(rule))
    names = torch_class.torch_options
    return torch_class(
        params, lr=lr, **{names.get(name, name): value for name, value in arguments.items()}
    )


def options(rule: Rule) -> dict[str, Any]:
    """The options of a rule, as an optimizer's arguments."""
    fields = rule.options()
    betas = tuple(fields.pop(name) for name in BETAS if name in fields)
    return {**({"betas": betas} if betas else {}), **fields}

"""Any rule as a torch.optim.Optimizer, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane.errors import BadInput
from betaplane.rules import Rule, State


class RuleOptimizer(Optimizer):
    """A torch.optim.Optimizer whose step is `rule.step`, applied to one parameter after the other.

    It is the slow twin of torch's own optimizers: everything torch.optim promises works (groups, schedulers,
    closures, hooks, state_dict), and each group may change the rule's hyperparameters, which are its options.

    `state[p]` holds plain tensors: the fields of the rule's state by name, and its step count t under torch's name,
    "step" (a 0-d tensor, one for each parameter).

    Args:
        params: parameters, (name, parameter) pairs or groups, as for any torch optimizer; real floating point.
        rule: the update rule.
        lr: learning rate, in [0, inf); the rule's own suggestion if left out.

    Raises:
        BadInput: for no parameters, a parameter that is not real floating point, a sparse gradient, lr out of range,
            or a group with hyperparameters out of range.

    Source: the equations are the rule's.

    Example:
        >>> from betaplane.rules import Adam
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = RuleOptimizer([p], Adam(beta2=0.95), lr=0.1)
        >>> p.square().sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([ 0.9000, -1.9000])
    """

    def __init__(self, params: ParamsT, rule: Rule, lr: float | None = None) -> None:
        self.rule = rule
        groups = listed(params)
        check(groups)
        super().__init__(groups, {"lr": rule.lr if lr is None else lr, **options(rule)})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked, with the rule's hyperparameters where it names none.

        Args:
            param_group: {"params": parameters, ...options}.

        Raises:
            BadInput: for options out of range.
        """
        check_lr(param_group.get("lr", self.defaults["lr"]))
        check_group(self.rule, param_group)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it; called once, with gradients on.

        Returns:
            The closure's loss, or None.

        Raises:
            BadInput: for a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rule = of_group(self.rule, group)
            kind = type(rule.init(torch.empty(0)))
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, rule, kind, group["lr"])
        return loss

    def _update(self, p: Tensor, g: Tensor, rule: Rule, kind: type[State], lr: float | Tensor) -> None:
        """One step of one parameter, written back into it and its state."""
        if g.layout is not torch.strided:
            where, instead = f"the gradient of a parameter of shape {tuple(p.shape)}", "sparse=False"
            raise BadInput(
                "The gradient is sparse", value=g.layout, allowed="torch.strided", where=where, instead=instead
            )
        held = self.state[p]
        words = {"step" if name == "t" else name: name for name in kind._fields}
        s = kind(**{words[word]: held[word] for word in words}) if held else rule.init(p)
        x, new = rule.step(p, g, s, lr)
        p.copy_(x)
        for word, name in words.items():  # a wider step count promotes a 0-d parameter: back to its dtype
            held[word] = getattr(new, name) if word == "step" else getattr(new, name).to(p.dtype)

    def __getstate__(self) -> dict[str, Any]:
        """What pickling and copying keep: torch's part and the rule."""
        return {**super().__getstate__(), "rule": self.rule}


def options(rule: Rule) -> dict[str, Any]:
    """The rule's fields and their values, not copied."""
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


def of_group(rule: Rule, group: dict[str, Any]) -> Rule:
    """The rule with the hyperparameters that a group names."""
    return replace(rule, **{name: group[name] for name in options(rule) if name in group})


def listed(params: Any) -> list[Any]:
    """Parameters, (name, parameter) pairs or groups as a list that can be gone through twice; one tensor is refused."""
    if isinstance(params, Tensor):
        shape = f"a tensor of shape {tuple(params.shape)}"
        raise BadInput("params is one tensor", allowed="a list of tensors", where=shape, instead="params=[tensor]")
    entries = []
    for entry in params:
        if isinstance(entry, dict):
            inner = entry["params"]
            entry = {**entry, "params": [inner] if isinstance(inner, Tensor) else list(inner)}
        entries.append(entry)
    return entries


def tensors(groups: list[Any]) -> list[Tensor]:
    """The parameters among parameters, (name, parameter) pairs and groups, as `listed` gives them."""
    flat = [p for entry in groups for p in (entry["params"] if isinstance(entry, dict) else [entry])]
    return [p[1] if isinstance(p, tuple) else p for p in flat]


def check(groups: list[Any]) -> None:
    """Raise BadInput unless there are parameters and all are real floating point."""
    found = tensors(groups)
    if not found:
        raise BadInput(
            "There are no parameters", allowed="at least 1", where="params", instead="params=model.parameters()"
        )
    for p in found:
        if not p.is_floating_point():
            raise BadInput(
                "A parameter is not real floating point",
                value=p.dtype,
                allowed="float64, float32, bfloat16 or float16",
                where=f"a parameter of shape {tuple(p.shape)}",
                instead="parameter.float()",
            )


def check_lr(lr: float | Tensor) -> None:
    """Raise BadInput unless lr is in [0, inf)."""
    if not 0 <= float(lr) < float("inf"):
        raise BadInput("lr is out of range", value=lr, allowed="[0, inf)", where="the optimizer", instead="lr=0.001")


def check_group(rule: Rule, group: dict[str, Any]) -> None:
    """Raise BadInput if lr or a hyperparameter that a group names is out of range."""
    check_lr(group.get("lr", 0.0))
    of_group(rule, group)

"""Any rule as a torch.optim.Optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane.errors import BadInput, BadType
from betaplane.optim.argument_types import check_types
from betaplane.optim.base import GROUP_OPTIONS, OPTIMIZER_OPTIONS, BaseOptimizer
from betaplane.optim.class_docs import class_docstring
from betaplane.optim.group_keys import unknown_option
from betaplane.optim.once import once
from betaplane.optim.rule_from_group import BETAS, build
from betaplane.optim.sharding.step import update_shard_curvature
from betaplane.optim.state.load import load
from betaplane.optim.step.reference import update_curvature
from betaplane.optim.step.stored_state import STATE
from betaplane.optim.validation import check_some, warn_of_losses
from betaplane.rules import Rule
from betaplane.tensors.dtensor import is_dtensor

KEYWORD = inspect.Parameter.KEYWORD_ONLY
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class RuleOptimizer(BaseOptimizer, Optimizer):
    """A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate, >= 0.
        betas: the rule's decay rates of moments, each in [0, 1), if it has any.
        others: the rule's own.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.
    """

    rule: ClassVar[type[Rule]]

    def __init_subclass__(cls) -> None:
        """Build the class's docstring and signature from the rule."""
        super().__init_subclass__()
        cls.__signature__ = _signature(cls.rule)  # pyright: ignore[reportAttributeAccessIssue]
        cls.__doc__ = class_docstring(cls, RuleOptimizer, BaseOptimizer)

    def __init__(self, params: ParamsT, *args: Any, **options: Any) -> None:
        check_types(type(self), params, args, options)
        defaults = self._bind(params, *args, **options)
        self._init_options(**{name: defaults.pop(name) for name in OPTIMIZER_OPTIONS})
        groups: list[Any] = list(params)
        check_some(groups)
        super().__init__(groups, defaults)
        warn_of_losses(self)

    def _bind(self, *args: Any, **options: Any) -> dict[str, Any]:
        """All options by name, with defaults for those that are not given."""
        signature = inspect.signature(type(self))
        for name in options:
            if name not in signature.parameters:
                raise unknown_option(name, type(self))
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name != "params"}

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule with the options of a group."""
        return build(self.rule, group)

    @torch.no_grad()
    def curvature(self, estimates: Sequence[Tensor]) -> None:
        """Add an estimate of the Hessian's diagonal to the state, for rules that store one
        (Sophia).

        To be called every few steps.

        Args:
            estimates: one per parameter, like it, in the order of the groups, as from `hutchinson` or `sampled_labels`.

        Raises:
            BadInput: the rule stores no curvature, or the estimates do not fit the parameters.
        """
        name = type(self).__name__
        if not hasattr(self.rule, "curvature"):
            raise BadInput(
                "This rule keeps no curvature", value=name, allowed="Sophia", where="curvature"
            )
        pairs = [(group, p) for group in self.param_groups for p in group["params"]]
        estimates = _check_estimates(estimates, [tuple(p.shape) for _, p in pairs], name)
        for (group, p), h in zip(pairs, estimates, strict=True):
            update = update_shard_curvature if is_dtensor(p) else update_curvature
            update(self.spec_of(group), p, h, self.state[p])

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state; dtypes are kept, which torch would cast to the parameter's.

        Args:
            state_dict: the result of `state_dict()`. If both it and the optimizer have the names of the parameters,
                these are matched by name, whatever their order and groups; else by position.
            strict: whether the names must be the same. If not, a parameter that the state dict lacks keeps its state
                (none in a new optimizer), and what only the state dict has is skipped.

        Raises:
            BadInput: it is another rule's, of other shapes or for other names; nothing is loaded then.
        """
        load(self, state_dict, super().load_state_dict, STATE, strict=strict)

    def __reduce__(self) -> tuple:
        return _blank, (self.rule,), self.__getstate__()


def _check_estimates(estimates: Any, shapes: list[tuple], where: str) -> list[Tensor]:
    """The estimates as a list, if they are tensors of these shapes."""
    is_list = isinstance(estimates, Iterable) and not isinstance(estimates, Tensor)
    values = list(estimates) if is_list else []
    if not all(isinstance(h, Tensor) for h in values):
        got = [type(h).__name__ for h in values]
        raise BadType("The estimates are not tensors", value=got, allowed="tensors", where=where)
    got = [tuple(h.shape) for h in values]
    if got != shapes:
        raise BadInput(
            "The estimates do not fit the parameters", value=got, allowed=str(shapes), where=where
        )
    return values


def _blank(rule: type[Rule]) -> RuleOptimizer:
    """An optimizer of a rule without its state, for unpickling: pickle cannot look up the class by
    name.
    """
    return object.__new__(optimizer_class(rule))


@once
def optimizer_class(rule: type[Rule]) -> type[RuleOptimizer]:
    """The torch.optim.Optimizer of a rule, with the rule's hyperparameters as arguments.

    Args:
        rule: the rule's class.

    Example:
        >>> from betaplane.rules import AMSGrad
        >>> import inspect
        >>> str(inspect.signature(optimizer_class(AMSGrad)))[:60]
        '(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_dec'
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = optimizer_class(AMSGrad)([p], lr=0.1, betas=(0.9, 0.95))
        >>> p.square().sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([ 0.9000, -1.9000])
    """
    if not isinstance(rule, type) or not issubclass(rule, Rule):
        raise BadType(
            "This is no class of rules",
            value=rule,
            allowed="a subclass of Rule",
            where="optimizer_class",
        )
    return type(rule.__name__, (RuleOptimizer,), {"rule": rule, "__module__": __name__})


def _signature(rule: type[Rule]) -> inspect.Signature:
    """The signature of a rule's optimizer.

    By position: params, lr, betas and the rule's hyperparameters and variants. By keyword: the rule's shared options,
    and those of all optimizers.
    """
    default = {f.name: None if f.default is MISSING else f.default for f in fields(rule)}
    betas = tuple(default[name] for name in BETAS if name in default)
    own = {f.name: f.default for f in fields(rule) if not f.kw_only and f.name not in BETAS}
    by_position = {
        "params": inspect.Parameter.empty,
        "lr": rule.lr,
        **({"betas": betas} if betas else {}),
        **own,
    }
    by_keyword = {f.name: f.default for f in fields(rule) if f.kw_only} | {"maximize": False}
    by_keyword |= GROUP_OPTIONS | OPTIMIZER_OPTIONS
    return inspect.Signature(
        [inspect.Parameter(name, POSITIONAL, default=value) for name, value in by_position.items()]
        + [inspect.Parameter(name, KEYWORD, default=value) for name, value in by_keyword.items()]
    )

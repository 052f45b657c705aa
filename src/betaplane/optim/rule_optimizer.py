"""Any rule as a torch.optim.Optimizer, parameter by parameter: the slow twin of every faster path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane.errors import BadInput, BadType
from betaplane.optim.argument_types import check_types
from betaplane.optim.base import GROUP, OWN, BaseOptimizer
from betaplane.optim.class_docs import class_docstring
from betaplane.optim.dispatch import chosen
from betaplane.optim.group_keys import unknown_option
from betaplane.optim.once import once
from betaplane.optim.rule_from_group import BETAS, build
from betaplane.optim.sharding.step import estimate_part, step_all
from betaplane.optim.state.load import load
from betaplane.optim.step.preconditions import check_ready
from betaplane.optim.step.reference import STATE, estimate
from betaplane.optim.validation import check_some, finite, loss_of, warn_of_losses
from betaplane.optim.zeroing import zeroed
from betaplane.rules import Rule
from betaplane.tensors.dtensor import is_dtensor

KEYWORD, USUAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD


class RuleOptimizer(BaseOptimizer, Optimizer):
    """A torch.optim.Optimizer whose step is a rule's.

    Everything torch.optim promises works: groups that change any option, schedulers, closures, hooks, named parameters,
    copies, checkpoints. Each parameter counts its own steps. State holds plain tensors under torch's names (step,
    exp_avg, exp_avg_sq, ...), and keeps its type through `load_state_dict`; where that is wider than the parameter's,
    the step is computed in it. Complex parameters are pairs of real ones.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate, >= 0.
        betas: the rule's averaging factors, each in [0, 1), where it has them.
        others: the rule's own.

    Raises:
        BadInput: for no parameters, a parameter that is not of floating point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.
    """

    rule: ClassVar[type[Rule]]

    def __init_subclass__(cls) -> None:
        """Set the signature and the docstring from the rule."""
        super().__init_subclass__()
        cls.__signature__ = _signature(cls.rule)  # pyright: ignore[reportAttributeAccessIssue]
        cls.__doc__ = class_docstring(cls, RuleOptimizer, BaseOptimizer)

    def __init__(self, params: ParamsT, *args: Any, **options: Any) -> None:
        check_types(type(self), params, args, options)
        given = self._bound(params, *args, **options)
        self._around(**{name: given.pop(name) for name in OWN})
        groups: list[Any] = list(params)
        check_some(groups)
        super().__init__(groups, given)
        warn_of_losses(self)

    def _bound(self, *args: Any, **options: Any) -> dict[str, Any]:
        signature = inspect.signature(type(self))
        for name in options:
            if name not in signature.parameters:
                raise unknown_option(name, options[name], type(self))
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name != "params"}

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a group's options ask for."""
        return build(self.rule, group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it; called once, with gradients on.

        Returns:
            The closure's loss, or None.

        Raises:
            BadInput: for a sparse gradient, options out of range or a state that does not fit; for a gradient that is
                not finite, where `nonfinite` is "raise". Nothing is written then.
        """
        loss = loss_of(closure)
        check_ready(self)
        with zeroed(self), finite(self, self.nonfinite), self._measured():
            step_all(self, self._once)
        return loss

    def _once(self) -> None:
        for i, group in enumerate(self.param_groups):
            if self._again(i, group):
                continue
            self._pass(i, group, [p for p in group["params"] if p.grad is not None], self.state)

    def _takes_sparse(self, group: Mapping[str, Any]) -> bool:
        """Whether a group's gradients may be sparse."""
        return False

    @torch.no_grad()
    def curvature(self, estimates: Sequence[Tensor]) -> None:
        """Take an estimate of the Hessian's diagonal into the state; for rules that keep one
        (Sophia), every few steps.

        Args:
            estimates: one a parameter, like it, in the order of the groups, as of `hutchinson` or `sampled_labels`.

        Raises:
            BadInput: the rule keeps none, or the estimates do not fit the parameters.
        """
        name = type(self).__name__
        if not hasattr(self.rule, "curvature"):
            raise BadInput(
                "This rule keeps no curvature", value=name, allowed="Sophia", where="curvature"
            )
        estimates = (
            []
            if isinstance(estimates, Tensor) or not isinstance(estimates, Iterable)
            else list(estimates)
        )
        if not all(isinstance(h, Tensor) for h in estimates):
            got, allowed = [type(h).__name__ for h in estimates], "tensors"
            raise BadType("The estimates are not tensors", value=got, allowed=allowed, where=name)
        pairs = [(group, p) for group in self.param_groups for p in group["params"]]
        shapes, wanted = [tuple(h.shape) for h in estimates], [tuple(p.shape) for _, p in pairs]
        if shapes != wanted:
            raise BadInput(
                "The estimates do not fit the parameters",
                value=shapes,
                allowed=str(wanted),
                where=name,
            )
        for (group, p), h in zip(pairs, estimates, strict=True):
            (estimate_part if is_dtensor(p) else estimate)(self.rule_of(group), p, h, self.state[p])

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state; types are kept, where torch would cast them to the parameter's.

        Args:
            state_dict: what `state_dict()` gave. Where both it and the optimizer have the names of the parameters,
                these match by name, whatever their order and groups; else by place.
            strict: whether the names must be the same. If not, a parameter that the state dict lacks keeps the state it
                has, none in a new optimizer; what only the state dict has is left out.

        Raises:
            BadInput: it is another rule's, of other shapes or for other names; nothing is loaded then.
        """
        load(self, state_dict, super().load_state_dict, STATE, strict=strict)

    def __getstate__(self) -> dict[str, Any]:
        """What copying and pickling keep: torch's part and ours."""
        return {**super().__getstate__(), **self._kept()}

    def _path_of(self, group: Mapping[str, Any]) -> str:
        return chosen(self.path, group["params"])

    def __reduce__(self) -> tuple:
        return _blank, (self.rule,), self.__getstate__()


def _blank(rule: type[Rule]) -> RuleOptimizer:
    """An optimizer of a rule before its state is filled in: its class has no place that pickle
    could look it up at.
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
    """(params, lr, betas, the rule's own numbers and choices; by keyword the shared options and
    ours).
    """
    default = {f.name: None if f.default is MISSING else f.default for f in fields(rule)}
    betas = tuple(default[name] for name in BETAS if name in default)
    own = {f.name: f.default for f in fields(rule) if not f.kw_only and f.name not in BETAS}
    usual = {
        "params": inspect.Parameter.empty,
        "lr": rule.lr,
        **({"betas": betas} if betas else {}),
        **own,
    }
    more = (
        {f.name: f.default for f in fields(rule) if f.kw_only} | {"maximize": False} | GROUP | OWN
    )
    return inspect.Signature(
        [inspect.Parameter(name, USUAL, default=value) for name, value in usual.items()]
        + [inspect.Parameter(name, KEYWORD, default=value) for name, value in more.items()]
    )

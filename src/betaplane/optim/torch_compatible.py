"""Torch's optimizer classes with checks, fused kernels by default, and a rule's variants as
options.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.optim.argument_types import check_given, check_options
from betaplane.optim.base import GROUP_OPTIONS, OPTIMIZER_OPTIONS, BaseOptimizer
from betaplane.optim.class_docs import class_docstring
from betaplane.optim.dispatch import StepPath, choose_path, group_facts
from betaplane.optim.group_keys import unknown_option
from betaplane.optim.rule_from_group import BETAS, build, set_peak
from betaplane.optim.state.load import load
from betaplane.optim.step.preconditions import CheckedGroup
from betaplane.optim.validation import explained, warn_of_losses
from betaplane.rules import Rule


class TorchCompatible(BaseOptimizer, Optimizer):
    """What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.
    """

    rule: ClassVar[type[Rule]]  # the equations
    torch_class: ClassVar[type[Optimizer]]
    # the rule's field -> torch's option, if they differ; betas are known
    torch_options: ClassVar[Mapping[str, str]] = {}
    # torch's variant, if it is not the rule's default
    torch_defaults: ClassVar[Mapping[str, Any]] = {}
    sparse: ClassVar[bool] = False  # torch's loops take sparse gradients
    has_step_count: ClassVar[bool | None] = True  # torch's state has a step count
    # the options that torch does not have -> the value that computes what torch does
    variant_options: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        """Build the class's docstring and signature from torch's class and the rule."""
        cls.torch_name = cls.torch_class.__name__
        parameters = inspect.signature(cls.torch_class).parameters
        known = {*cls.torch_options, *parameters, *(BETAS if "betas" in parameters else ())}
        own = {f.name: f.default for f in fields(cls.rule) if f.name not in known}
        cls.variant_options = own | dict(cls.torch_defaults) | GROUP_OPTIONS
        added_parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in (cls.variant_options | OPTIMIZER_OPTIONS).items()
        ]
        cls.__signature__ = inspect.Signature([*parameters.values(), *added_parameters])  # pyright: ignore
        cls.__doc__ = class_docstring(cls, TorchCompatible, BaseOptimizer)

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        check_options(type(self), args, options)
        shared = {name: options.pop(name, value) for name, value in OPTIMIZER_OPTIONS.items()}
        self._init_options(**shared)
        own = {name: options.pop(name) for name in self.variant_options if name in options}
        try:
            super().__init__(params, *args, **options)
        except BadInput:
            raise
        except TypeError as error:  # torch checks its options first, and so do its tests
            check_given(type(self), params)
            raise self._explain_type_error(options, error) from None
        except ValueError as error:
            raise explained(error, type(self).__name__) from None
        self.defaults.update(own)
        for group in self.param_groups:
            group.update({name: value for name, value in own.items() if name not in group})
            set_peak(group)
            self._check_options(group)
        warn_of_losses(self)

    def _explain_type_error(self, options: Mapping[str, Any], error: TypeError) -> Exception:
        """An error that names the unknown option, if there is one."""
        known = inspect.signature(type(self)).parameters
        for name in options:
            if name not in known:
                return unknown_option(name, type(self))
        return error

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule with the options of a group."""
        options = dict(group)
        if "decoupled_weight_decay" in group:
            options.setdefault("decay", "decoupled" if group["decoupled_weight_decay"] else "l2")
        return build(
            self._rule_class(group), {**self.torch_defaults, **options}, self.torch_options
        )

    def _has_variant_options(self, group: Mapping[str, Any]) -> bool:
        return any(group.get(name, value) != value for name, value in self.variant_options.items())

    def _takes_sparse(self, group: Mapping[str, Any]) -> bool:
        """Whether a group's gradients may be sparse: torch steps it, and adds no decay to them."""
        extra = self.zero or self.max_norm is not None or self._has_variant_options(group)
        return self.sparse and not (extra or group.get("fused") or group["weight_decay"])

    def _equals_torch(self, group: Mapping[str, Any]) -> bool:
        """Whether the rule has torch's results for every gradient."""
        return True

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether torch.amp may leave gradients scaled: only torch's fused kernels take them so."""
        return self.nonfinite == "pass" and all(map(self._is_fused, enumerate(self.param_groups)))

    @_step_supports_amp_scaling.setter
    def _step_supports_amp_scaling(self, value: bool) -> None:
        """Ignored: torch's classes set it if `fused` is requested, which is not enough."""

    def _is_fused(self, indexed: tuple[int, dict[str, Any]]) -> bool:
        """Whether the fused kernel was requested for a group, and steps all its parameters."""
        _, group = indexed
        params = [p for p in group["params"] if p.grad is not None]
        if not group.get("fused"):
            return False
        facts = group_facts(self, CheckedGroup(self, group), indexed, params, self.state)
        paths = [choose_path(p, facts, self.state.get(p, {})) for p in params]
        return set(paths) <= {StepPath.FUSED}

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state, torch's or this package's; dtypes are kept, which torch would cast to the
        parameter's.

        Args:
            state_dict: the result of `state_dict()`. If both it and the optimizer have the names of the parameters,
                these are matched by name, whatever their order and groups; else by position.
            strict: whether the names must be the same. If not, a parameter that the state dict lacks keeps its state
                (none in a new optimizer), and what only the state dict has is skipped.

        Raises:
            BadInput: it is another rule's, of other shapes or for other names; nothing is loaded then.
        """
        load(self, state_dict, super().load_state_dict, self.state_keys, strict=strict)

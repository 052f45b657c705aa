"""Torch's own optimizers, made safe, quick by default, and open to a rule's dialects."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.optim.argument_types import check_given, check_options
from betaplane.optim.base import GROUP, OWN, BaseOptimizer
from betaplane.optim.class_docs import class_docstring
from betaplane.optim.dispatch import chosen, sweeps
from betaplane.optim.group_keys import unknown_option
from betaplane.optim.rule_from_group import BETAS, build, set_peak
from betaplane.optim.sharding.step import moves, step_all
from betaplane.optim.state.load import load
from betaplane.optim.step.checked_kernels import takes_kernel
from betaplane.optim.step.preconditions import check_ready
from betaplane.optim.step.reference import STATE
from betaplane.optim.validation import explained, finite, loss_of, warn_of_losses
from betaplane.optim.zeroing import zeroed
from betaplane.rules import Rule
from betaplane.tensors.memory_layout import align_state, copy_in_layout, is_dense, same_layout

PLAIN = (Tensor, torch.nn.Parameter)  # the types torch's fused kernels take


class TorchCompatible(BaseOptimizer, Optimizer):
    """What ours adds to torch's class of the same name, whose arguments, state and numbers it
    keeps.

    - The fused kernel is the default for dtypes on which it was checked against the loop (optim/kernels.py), on
      parameters it is safe for: torch 2.13's fused CPU kernels walk raw memory, and where strides differ between
      parameter, gradient and state they update the wrong elements; where a parameter is a view with gaps, they write
      outside it. Gradients and states are laid out as their parameter before such a step, and views take torch's loop.
    - A state of another type than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps sits, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.
    """

    rule: ClassVar[type[Rule]]  # the equations
    torchs: ClassVar[type[Optimizer]]  # torch's class
    # the rule's field -> torch's option, where they differ; betas are known
    hyper: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, str]] = STATE  # the same of the state
    usual: ClassVar[Mapping[str, Any]] = {}  # torch's dialect, where it is not the rule's default
    kernel: ClassVar[bool] = False  # torch has a fused kernel
    sparse: ClassVar[bool] = False  # torch's loops take sparse gradients
    empty: ClassVar[bool] = True  # and parameters without elements
    spare: ClassVar[tuple[str, ...]] = ()  # state keys of a variant that a group can switch off
    counts: ClassVar[bool] = True  # torch's state has a count of steps
    # the rule's options that torch does not have, as torch has them
    dialects: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        """Set the signature from torch's and the rule's arguments, and the docstring."""
        theirs = inspect.signature(cls.torchs).parameters
        same = {*cls.hyper, *theirs, *(BETAS if "betas" in theirs else ())}
        cls.dialects = {f.name: f.default for f in fields(cls.rule) if f.name not in same} | dict(
            cls.usual
        )
        cls.dialects |= GROUP
        own = cls.dialects | OWN
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in own.items()
        ]
        cls.__signature__ = inspect.Signature([*theirs.values(), *more])  # pyright: ignore
        cls.__doc__ = class_docstring(cls, TorchCompatible, BaseOptimizer)

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        check_options(type(self), args, options)
        self._around(**{name: options.pop(name, usual) for name, usual in OWN.items()})
        own = {name: options.pop(name) for name in self.dialects if name in options}
        try:
            super().__init__(params, *args, **options)
        except BadInput:
            raise
        except TypeError as error:  # torch looks at its options first, and so do its tests
            check_given(type(self), params)
            raise self._unknown(options, error) from None
        except ValueError as error:
            raise explained(error, type(self).__name__) from None
        self.defaults.update(own)
        for group in self.param_groups:
            group.update({name: value for name, value in own.items() if name not in group})
            set_peak(group)
            self._check_options(group)
        warn_of_losses(self)

    def _unknown(self, options: Mapping[str, Any], error: TypeError) -> Exception:
        known = inspect.signature(type(self)).parameters
        strange = [name for name in options if name not in known]
        if not strange:
            return error
        return unknown_option(strange[0], options[strange[0]], type(self))

    def __getstate__(self) -> dict[str, Any]:
        """What copying and pickling keep: torch's part and ours."""
        return {**super().__getstate__(), **self._kept()}

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a group's options ask for."""
        own = dict(group)
        if "decoupled_weight_decay" in group:
            own.setdefault("decay", "decoupled" if group["decoupled_weight_decay"] else "l2")
        return build(self._kind(group), {**self.usual, **own}, self.hyper)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it; called once, with gradients on.

        Returns:
            The closure's loss, or None.

        Raises:
            BadInput: for options out of range, a state that does not fit, or a sparse gradient that torch refuses;
                for a gradient that is not finite, where `nonfinite` is "raise". Nothing is written
                then.
        """
        if torch.compiler.is_compiling() and not any(
            self._dialect(group) for group in self.param_groups
        ):
            return unhooked(self.torchs)(self, closure)
        loss = loss_of(closure)
        check_ready(self)
        with zeroed(self), finite(self, self.nonfinite), self._measured():
            step_all(self, self._once)
        return loss

    def _once(self) -> None:
        with self._planned() as by_rule:
            if self.param_groups:
                unhooked(self.torchs)(self)
            for i, group in by_rule:
                self._by_rule(i, group)

    @torch.no_grad()
    def _by_rule(self, i: int, group: dict[str, Any]) -> None:
        if type(self)._rules_state is TorchCompatible._rules_state:
            self._pass(i, group, group["params"], self.state, self.words)
            return
        states = {p: self._rules_state(self.state.get(p, {})) for p in group["params"]}
        self._pass(i, group, group["params"], states, self.words)
        self.state.update(
            {p: self._torchs_state(held) for p, held in states.items() if held}
        )  # empty tensors have none

    def _rules_state(self, held: dict[str, Any]) -> dict[str, Any]:
        """A parameter's state as the rule has it, under torch's names."""
        return held

    def _torchs_state(self, held: dict[str, Any]) -> dict[str, Any]:
        """A parameter's state as torch has it."""
        return held

    @contextmanager
    def _planned(self) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """While torch steps: its groups split by path, gradients laid out as parameters; yields the
        rule's groups.
        """
        groups, replaced, by_rule = self.param_groups, [], []
        self.param_groups = []
        try:
            for i, group in enumerate(groups):
                if self._quickly(i, group):
                    continue
                for path, found in self._split(group).items():
                    part = {**group, "params": found}
                    if path == "rule":
                        by_rule.append((i, part))
                        continue
                    if path == "fused":
                        part["fused"] = True
                        replaced += [
                            (p, g)
                            for p in found
                            if (g := p.grad) is not None and not same_layout(g, p)
                        ]
                        self._align(found)
                    elif group.get("fused"):
                        part["fused"] = False
                    self.param_groups.append(part)
            yield by_rule
        finally:
            self.param_groups = groups
            for p, g in replaced:
                p.grad = g

    @torch.no_grad()
    def _quickly(self, i: int, group: dict[str, Any]) -> bool:
        """Step a group that is as it was, if there is a way; whether it was done."""
        return (self._dialect(group) or self._takes_over(group)) and self._again(i, group)

    def _split(self, group: dict[str, Any]) -> dict[str, list[Tensor]]:
        """The parameters of a group that have a gradient, by who steps them: "fused", "torch" or
        "rule".
        """
        found: dict[str, list[Tensor]] = {}
        dialect = self._dialect(group) or self._slow(group)
        kernel = self.kernel and may_fuse(group)
        for p in group["params"]:
            if p.grad is not None and (p.numel() or self.empty):
                # torch's Adafactor cannot step a DTensor
                rule = dialect or self._mixed(p) or moves(group, p)
                fused = kernel and (self._fuses(group, p) or refused(group, p))
                path = "rule" if rule else "fused" if fused else "torch"
                found.setdefault(path, []).append(p)
        if late := self._late(group, found.get("fused", [])):
            found["fused"] = [p for p in found["fused"] if not any(p is each for each in late)]
            found.setdefault("torch", []).extend(late)
        return found

    def _late(self, group: dict[str, Any], fused: list[Tensor]) -> list[Tensor]:
        """The parameters without a momentum buffer beside others with one, which torch's fused
        kernel cannot take.
        """
        if not group.get("momentum"):
            return []
        late = [p for p in fused if self.state.get(p, {}).get("momentum_buffer") is None]
        return late if len(late) < len(fused) else []

    def _takes_sparse(self, group: dict[str, Any]) -> bool:
        """Whether a group's gradients may be sparse: torch steps it, and adds no decay to them."""
        return self.sparse and not (
            self._dialect(group) or group.get("fused") or group["weight_decay"]
        )

    def _path_of(self, group: dict[str, Any]) -> str:
        if self._dialect(group) or self._slow(group, given=False):
            return chosen(self.path, group["params"])
        return "fused" if self._has_kernel(group) and may_fuse(group) else "torch"

    def _dialect(self, group: dict[str, Any]) -> bool:
        """Whether a group asks for what torch does not compute."""
        return (
            self.zero
            or self.max_norm is not None
            or any(group.get(name, usual) != usual for name, usual in self.dialects.items())
        )

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Whether torch.amp may leave gradients scaled: only torch's fused kernels take them so."""
        fused = (
            group.get("fused") and set(self._split(group)) <= {"fused"}
            for group in self.param_groups
        )
        return self.nonfinite == "pass" and all(fused)

    @_step_supports_amp_scaling.setter
    def _step_supports_amp_scaling(self, value: bool) -> None:
        """Torch's classes set it where `fused` is asked for, which is not enough."""

    def _slow(self, group: dict[str, Any], given: bool = True) -> bool:
        """Whether the rule is to take one compiled pass: that is asked for, or torch has only loops
        and nobody did.
        """
        if not self._takes_over(group):
            return False
        found = [p for p in group["params"] if p.grad is not None or not given]
        if any(p.grad is not None and p.grad.layout is not torch.strided for p in found):
            return False  # which torch's loops take
        return chosen(self.path, found) == "compiled" and sweeps(self.rule_of(group))

    def _takes_over(self, group: dict[str, Any]) -> bool:
        """Whether the rule may step what torch could: nobody asked for torch's ways, and it is
        quicker or asked for.
        """
        asked = any(group.get(flag) is not None for flag in ("fused", "foreach"))
        if asked or not may_fuse(group):
            return False
        return self.path == "compiled" or (self._exact(group) and not self._has_kernel(group))

    def _has_kernel(self, group: Mapping[str, Any]) -> bool:
        """Whether torch has a fused kernel for some parameter of a group."""
        return self.kernel and any(
            takes_kernel(self.torchs.__name__, group, p) for p in group["params"]
        )

    def _fuses(self, group: Mapping[str, Any], p: Tensor) -> bool:
        """Whether torch's fused kernel may step p as it is laid out now."""
        return safe(p) and takes_kernel(self.torchs.__name__, group, p)

    def _exact(self, group: Mapping[str, Any]) -> bool:
        """Whether the rule has torch's values at every gradient."""
        return True

    def _mixed(self, p: Tensor) -> bool:
        """Whether p's state or gradient is of another dtype than p, as after `model.bfloat16()`
        between steps.
        """
        held = self.state.get(p, {})
        kinds = [p.dtype if p.grad is None else p.grad.dtype]
        kinds += [
            value.dtype for value in held.values() if isinstance(value, Tensor) and value.dim() > 0
        ]
        return any(kind != p.dtype for kind in kinds)

    def _align(self, found: list[Tensor]) -> None:
        """Lay gradients and states out as their parameters."""
        for p in found:
            if p.grad is not None and not same_layout(p.grad, p):
                p.grad = copy_in_layout(p.grad, p)
            align_state(self.state.get(p, {}), p)

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state, torch's or ours; types are kept, where torch would cast them to the
        parameter's.

        Args:
            state_dict: what `state_dict()` gave. Where both it and the optimizer have the names of the parameters,
                these match by name, whatever their order and groups; else by place.
            strict: whether the names must be the same. If not, a parameter that the state dict lacks keeps the state it
                has, none in a new optimizer; what only the state dict has is left out.

        Raises:
            BadInput: it is another rule's, of other shapes or for other names; nothing is loaded then.
        """
        load(self, state_dict, super().load_state_dict, self.words, strict=strict)


def unhooked(torchs: type[Optimizer]) -> Callable[..., Any]:
    """Torch's step without the hooks it wraps around the steps of a class in use; ours has them
    already.
    """
    step = torchs.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step  # pyright: ignore


def may_fuse(group: Mapping[str, Any]) -> bool:
    """Whether torch's fused kernel is asked for, or computes what the group asks for and nothing
    else was asked for.
    """
    if group.get("differentiable"):
        return False
    free = group.get("fused") is None and group.get("foreach") is None
    return bool(group.get("fused")) or (free and not group.get("capturable") and plain(group))


def plain(group: Mapping[str, Any]) -> bool:
    """Whether learning rate and betas are numbers; tensors may be changed, or differentiated, while
    they are used.
    """
    return not any(isinstance(value, Tensor) for value in (group["lr"], *group.get("betas", ())))


def refused(group: Mapping[str, Any], p: Tensor) -> bool:
    """Whether the fused kernel is asked for p and there is none, as torch then says."""
    return bool(group.get("fused")) and (p.is_meta or not p.is_floating_point())


def safe(p: Tensor) -> bool:
    """Whether the fused kernel may walk p."""
    usual = type(p) in PLAIN and p.device.type in ("cpu", "cuda") and p.is_floating_point()
    return usual and p.grad is not None and p.grad.layout is torch.strided and is_dense(p)

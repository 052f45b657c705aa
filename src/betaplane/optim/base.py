"""Options shared by all optimizers: state storage, weight rounding, clipping, averaging, zeroing gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from betaplane.errors import BadInput, one_of
from betaplane.optim.argument_types import check_group
from betaplane.optim.averaged_weights import AveragedWeights
from betaplane.optim.blocks import BLOCK, row_length
from betaplane.optim.codegen.compiled_group import CompiledGroup
from betaplane.optim.dispatch import PATHS, path_names, step_params
from betaplane.optim.group_keys import check_keys
from betaplane.optim.option_ranges import check_group_options, check_number
from betaplane.optim.rule_from_group import set_peak
from betaplane.optim.rule_step import repeat_step
from betaplane.optim.sharding.local_shard import LocalShard
from betaplane.optim.state.labels import LABEL, contents_under
from betaplane.optim.state.reencode import make_portable
from betaplane.optim.step.around_step import Norms, around_step
from betaplane.optim.step.fused_adam import FusedAdam
from betaplane.optim.step.preconditions import Checks, check_ready
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.step.stored_state import STATE
from betaplane.optim.step.torch_step import unhooked_step
from betaplane.optim.storage_formats import SCALE
from betaplane.optim.validation import (
    NONFINITE,
    check_floating,
    check_lr,
    explained,
    loss_of,
)
from betaplane.rules import Rule
from betaplane.tensors.dtensor import local_tensor

GROUP_OPTIONS = {"storage": "parameter", "rounding": "nearest", "average": None}
OPTIMIZER_OPTIONS = {"max_norm": None, "zero": False, "nonfinite": "pass", "path": "auto"}


class BaseOptimizer(AveragedWeights):
    """Options that every optimizer here has, besides its rule's.

    Args:
        storage: format of the state: "parameter", the parameter's dtype, as in torch; "float32";
            "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a scale each,
            2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the same with
            bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in 8 bits.
        rounding: how bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter.
        average: decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored in
            the state as "average"; see `averaged`. None for no average.
        max_norm: largest norm of all gradients together, > 0; larger gradients are scaled down for
            the step, and .grad is not changed. `norms` then has the norms. None for no limit.
        zero: whether the step sets gradients to zero, those that it skips too.
        nonfinite: what happens to a gradient that is not finite: "pass" uses it, "raise" raises an
            error that names the parameter, "skip" skips that parameter in this step.
        path: how the rule's operations run: "eager", one after the other; "compiled", as one pass
            over memory, after half a second of compiling at the first step; "auto" compiles from
            65,536 elements on.
    """

    param_groups: list[dict[str, Any]]
    state: Any
    rule: ClassVar[type[Rule]]
    # the fields of the rule's state -> torch's state keys, if they differ
    state_keys: ClassVar[Mapping[str, str]] = STATE
    torch_class: ClassVar[Any]  # torch's class, if torch has one for the rule
    torch_name: ClassVar[str] = ""  # the name of torch's class, if torch has one for the rule
    has_fused_kernel: ClassVar[bool] = False  # torch has a fused kernel
    keeps_fused_lists: ClassVar[bool] = False  # which can be called with cached lists
    steps_empty: ClassVar[bool] = True  # parameters without elements are stepped
    optional_keys: ClassVar[
        tuple[str, ...]
    ] = ()  # state keys of a variant that a group can switch off
    has_step_count: ClassVar[bool | None] = (
        None  # the state has a step count; None: if the rule's has
    )
    norms: Norms | None = None  # of the last step, if max_norm is set
    converts_state: ClassVar[bool] = False  # torch's state differs from the rule's
    converts_by_views: ClassVar[bool] = False  # and its tensors share their memory with the rule's

    def _init_options(self, max_norm: float | None, zero: bool, nonfinite: str, path: str) -> None:
        """Set the options that hold for all groups."""
        self.max_norm = check_number("max_norm", max_norm, 0, float("inf"))
        self.zero = bool(zero)
        one_of(NONFINITE, "the optimizer", nonfinite=nonfinite)
        one_of(PATHS, "the optimizer", path=path)
        self.nonfinite, self.path = nonfinite, path
        self._reset_caches()

    def _reset_caches(self) -> None:
        """Set everything that is not saved: caches, and what holds during one step."""
        self._checks = Checks()
        self._fused_lists: dict[int, FusedAdam | None] = {}  # by index of the group
        self._compiled_groups: dict[int, CompiledGroup] = {}  # by index of the group
        self._rule_states: dict[Tensor, tuple[dict[str, Any], ...]] = {}
        self._local_shards: dict[Tensor, LocalShard] = {}
        self._scale: float = 1.0  # by which this step multiplies gradients
        self._squared_update: float = 0.0  # norm of this step's update, if max_norm is set
        self._zero_in_step: bool = (
            False  # whether this step sets gradients to zero as it reads them
        )

    def __getstate__(self) -> dict[str, Any]:
        """What copying and pickling keep: torch's part and these options."""
        options = {name: getattr(self, name) for name in OPTIMIZER_OPTIONS}
        return {**super().__getstate__(), **options}  # pyright: ignore

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, or a loaded state: caches start empty."""
        self._reset_caches()
        super().__setstate__(state)  # pyright: ignore

    def rule_of(self, group: Mapping[str, Any]) -> Any:
        """The rule with the options of a group."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Check everything, then update every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it; called once, with gradients enabled.

        Returns:
            The closure's loss, or None.

        Raises:
            BadInput: for options out of range, a state that does not fit, or a sparse gradient that torch rejects; for
                a gradient that is not finite, if `nonfinite` is "raise". Nothing is written then.
        """
        if torch.compiler.is_compiling() and not self._exceeds_torch():
            return unhooked_step(self.torch_class)(self, closure)
        loss = None if closure is None else loss_of(closure)
        with torch.no_grad():
            if self._compiled_groups and repeat_step(self):
                return loss
            check_ready(self)
            if self.zero or self.nonfinite != "pass" or self.max_norm is not None:
                with around_step(self):
                    step_params(self)
            else:
                step_params(self)
        return loss

    def _exceeds_torch(self) -> bool:
        """Whether any option requests what torch does not compute."""
        extra = self.zero or self.max_norm is not None
        return extra or any(map(self._has_variant_options, self.param_groups))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked as torch does and as the rule does.

        Args:
            param_group: {"params": parameters, ...options}; keys of your own are kept.

        Raises:
            BadInput: if it is not a group; for parameters that are not tensors, or are in another group; for an option
                that is misspelled, of the wrong type or out of range. The optimizer is then unchanged.
        """
        check_group(type(self), param_group)
        check_keys(param_group, type(self))
        try:
            super().add_param_group(param_group)  # pyright: ignore
        except ValueError as error:
            raise explained(error, type(self).__name__) from None
        self._check_last_group()

    def _check_last_group(self) -> None:
        """Check the group that was just added, and remove it if it cannot be stepped."""
        group = self.param_groups[-1]
        try:
            check_lr(group["lr"])
            set_peak(group)
            check_floating(group["params"])
            self._check_options(group)
        except BaseException:
            self.param_groups.pop()
            raise

    def _check_options(self, group: Mapping[str, Any]) -> None:
        """Raise BadInput if an option is out of range, or does not fit the group's parameters."""
        self.rule_of(group)
        check_group_options(group)

    def _has_variant_options(self, group: Mapping[str, Any]) -> bool:
        """Whether a group's options request what torch does not compute."""
        return True

    def _takes_sparse(self, group: Mapping[str, Any]) -> bool:
        """Whether a group's gradients may be sparse."""
        return False

    def _rule_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        """A parameter's state as the rule has it, under torch's keys."""
        return param_state

    def _torch_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        """A parameter's state as torch has it."""
        return param_state

    def __repr__(self) -> str:
        options = [
            f"{name}: {getattr(self, name)}" for name in ("max_norm", "zero") if getattr(self, name)
        ]
        try:
            paths = ", ".join(path_names(self))
        except BadInput:  # an option is out of range
            paths = "unknown"
        return "\n".join([super().__repr__()[:-1], *options, f"path: {paths}", ")"])

    def spec_of(self, group: Mapping[str, Any]) -> StepSpec:
        """What a step does to the parameters of a group."""
        measures = self.max_norm is not None
        return StepSpec(
            self.rule_of(group),
            maximize=group.get("maximize", False),
            storage=group.get("storage", "parameter"),
            rounding=group.get("rounding", "nearest"),
            scaled=measures,
            average=group.get("average") is not None,
            zero=self._zero_in_step,
            norms=measures,
        )

    def state_dict(self) -> dict[str, Any]:
        """The state as torch has it, plain tensors and numbers; see torch.optim.Optimizer.state_dict.

        Returns:
            {"state": by parameter, "param_groups": options}. A state in 8 bits is saved as codes and scales; but as
            float32 if the parameter is not sharded by rows of 32 elements or more, because its blocks are then local to
            a rank. Under "betaplane" each group has the name of the rule that saved it and what each tensor of its
            state contains; torch's classes keep that and do not read it.
        """
        state_dict = make_portable(self, super().state_dict(), self.state_keys)  # pyright: ignore
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            saved[LABEL] = {
                "rule": self._rule_class(group).__name__,
                "state": self.contents_of(group),
            }
        return state_dict

    def contents_of(self, group: Mapping[str, Any]) -> dict[str, str]:
        """What each tensor of the state contains, by state key, under a group's options."""
        contents = contents_under(self._rule_class(group), group)
        return {self.state_keys.get(name, name): text for name, text in contents.items()}

    def _rule_class(self, group: Mapping[str, Any]) -> type[Rule]:
        """The class of a group's rule."""
        return self.rule

    def coded(
        self, p: Tensor, group: Mapping[str, Any], key: str
    ) -> tuple[Tensor, Tensor, int] | None:
        """How a tensor of p's state is stored in 8 bits; None if it is not.

        Args:
            p: the parameter.
            group: its group.
            key: the tensor's state key.

        Returns:
            The 256 values of its codes, relative to their block's scale; the scales, one per block of 256 elements; and
            the number of elements after which blocks start again.

        Example:
            >>> from betaplane.optim import AdamW
            >>> p = torch.nn.Parameter(torch.ones(64, 64))
            >>> optimizer = AdamW([p], storage="8bit")
            >>> p.grad = torch.ones(64, 64)
            >>> optimizer.step()
            >>> table, scale, length = optimizer.coded(p, optimizer.param_groups[0], "exp_avg_sq")
            >>> code = optimizer.state[p]["exp_avg_sq"][0, 0].int()
            >>> round((table[code] * scale[0, 0]).item(), 6), length
            (0.001, 64)
        """
        param_state = self.state.get(p, {})
        scale = param_state.get(key + SCALE)
        if scale is None:
            return None
        names = {key: name for name, key in self.state_keys.items()}
        codes = param_state[key]
        stored = self.spec_of(group).state_format(p, names.get(key, key), codes)
        table = stored.decode(torch.arange(BLOCK, dtype=torch.uint8), torch.ones(1, 1))
        local = local_tensor(codes)
        return table.to(local.device), scale, row_length(local.shape)

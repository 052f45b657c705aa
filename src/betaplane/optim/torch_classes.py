"""SGD ... Adafactor: drop-in replacements for torch's classes, with what `TorchCompatible` adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane import rules
from betaplane.optim.rule_from_group import build
from betaplane.optim.state.labels import TORCH_STATE_KEYS
from betaplane.optim.step.stored_state import COUNT_DTYPE, STATE
from betaplane.optim.torch_compatible import TorchCompatible
from betaplane.rules import Rule


class SGD(TorchCompatible, torch.optim.SGD):
    """torch.optim.SGD with checks, its fused kernel by default, and the rule's variants as options."""

    rule, torch_class, has_fused_kernel, sparse = rules.SGD, torch.optim.SGD, True, True
    state_keys = STATE | TORCH_STATE_KEYS[rules.SGD]
    has_step_count = False
    converts_state = True

    def _rule_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        """The state with a step count: a buffer from torch, which does not count, is not the first
        one.
        """
        started = isinstance(param_state.get("momentum_buffer"), Tensor)
        if started and "step" not in param_state:
            param_state["step"] = torch.tensor(1.0)
        return param_state


class Adagrad(TorchCompatible, torch.optim.Adagrad):
    """torch.optim.Adagrad with checks, its fused kernel by default, and the rule's variants as
    options.
    """

    rule, torch_class, has_fused_kernel, sparse = rules.Adagrad, torch.optim.Adagrad, True, True
    torch_options = {"initial_accumulator": "initial_accumulator_value"}
    state_keys = STATE | TORCH_STATE_KEYS[rules.Adagrad]

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state as the others do; a parameter without one has the sum that torch's
        constructor creates.
        """
        super().load_state_dict(state_dict, strict)
        for group in self.param_groups:
            start = group["initial_accumulator_value"]
            for p in group["params"]:
                if not self.state.get(p):
                    total = torch.full_like(p, complex(start, start) if p.is_complex() else start)
                    self.state[p] = {"step": torch.zeros(()), "sum": total.detach()}


class RMSprop(TorchCompatible, torch.optim.RMSprop):
    """torch.optim.RMSprop with checks, and the rule's variants as options."""

    rule, torch_class = rules.RMSprop, torch.optim.RMSprop
    state_keys = STATE | TORCH_STATE_KEYS[rules.RMSprop]

    def _equals_torch(self, group: Mapping[str, Any]) -> bool:
        # torch takes the root of a variance that rounding may have made negative
        return not group["centered"]


class Adam(TorchCompatible, torch.optim.Adam):
    """torch.optim.Adam with checks, its fused kernel by default, and the rule's variants as
    options.
    """

    rule, torch_class, has_fused_kernel = rules.Adam, torch.optim.Adam, True
    keeps_fused_lists = True
    optional_keys = ("max_exp_avg_sq",)

    def _rule_class(self, group: Mapping[str, Any]) -> type[Rule]:
        return rules.AMSGrad if group["amsgrad"] else self.rule


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW with checks, its fused kernel by default, and the rule's variants as
    options.
    """

    rule, torch_class = rules.AdamW, torch.optim.AdamW


class Adamax(TorchCompatible, torch.optim.Adamax):
    """torch.optim.Adamax with checks, and the rule's variants as options."""

    rule, torch_class = rules.Adamax, torch.optim.Adamax
    state_keys = STATE | TORCH_STATE_KEYS[rules.Adamax]


class NAdam(TorchCompatible, torch.optim.NAdam):
    """torch.optim.NAdam with checks, and the rule's variants as options."""

    rule, torch_class = rules.NAdam, torch.optim.NAdam
    converts_state = True

    def contents_of(self, group: Mapping[str, Any]) -> dict[str, str]:
        """What each tensor of the state contains, by state key, under a group's options."""
        contents = super().contents_of(group)
        return contents | {"mu_product": contents.pop("c").removeprefix("1 - ")}

    def _rule_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        rule_state = {key: value for key, value in param_state.items() if key != "mu_product"}
        return rule_state | ({"c": 1 - param_state["mu_product"]} if param_state else {})

    def _torch_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        torch_state = {key: value for key, value in param_state.items() if key != "c"}
        if param_state:
            torch_state["mu_product"] = (1 - param_state["c"]).to(COUNT_DTYPE)
        return torch_state


class RAdam(TorchCompatible, torch.optim.RAdam):
    """torch.optim.RAdam with checks, and the rule's variants as options."""

    rule, torch_class = rules.RAdam, torch.optim.RAdam


class Adafactor(TorchCompatible, torch.optim.Adafactor):
    """torch.optim.Adafactor with checks; floor="square" is the paper's variant."""

    rule, torch_class = rules.Adafactor, torch.optim.Adafactor
    steps_empty = False  # torch's loop would divide by their size
    converts_state = converts_by_views = True
    torch_options = {"clip": "d", "eps1": "eps", "eps2": "eps", "power": "beta2_decay"}
    state_keys = STATE | TORCH_STATE_KEYS[rules.Adafactor]
    torch_defaults = {"floor": "root"}

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule with the options of a group; eps1 None is the precision of the parameters'
        dtype.
        """
        eps1, eps2 = group["eps"]
        if eps1 is None:
            dtype = group["params"][0].dtype if group["params"] else torch.float32
            eps1 = torch.finfo(dtype).eps if group.get("floor", "root") == "root" else 1e-30
        replaced = ("eps", "beta2_decay", "d")
        options = {name: value for name, value in group.items() if name not in replaced}
        options |= {"eps1": eps1, "eps2": eps2, "power": -group["beta2_decay"], "clip": group["d"]}
        return build(self.rule, {**self.torch_defaults, **options})

    def _rule_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        kept_dims = {"row_var": -1, "col_var": -2}
        return {
            key: value.squeeze(kept_dims[key]) if key in kept_dims else value
            for key, value in param_state.items()
        }

    def _torch_state(self, param_state: dict[str, Any]) -> dict[str, Any]:
        kept_dims = {"row_var": -1, "col_var": -2}
        used = {key: value for key, value in param_state.items() if key == "step" or value.dim()}
        return {
            key: value.unsqueeze(kept_dims[key]) if key in kept_dims else value
            for key, value in used.items()
        }


TORCH_CLASSES = (SGD, Adagrad, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam, Adafactor)
CLASS_OF_RULE: dict[type[Rule], type[TorchCompatible]] = {kind.rule: kind for kind in TORCH_CLASSES}

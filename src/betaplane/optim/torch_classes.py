"""The rules torch has too: its classes, with what `TorchCompatible` adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane import rules
from betaplane.optim.rule_from_group import build
from betaplane.optim.state.labels import TORCH
from betaplane.optim.step.fused_adam import FusedAdam
from betaplane.optim.step.reference import COUNT, STATE
from betaplane.optim.torch_compatible import TorchCompatible, may_fuse, plain
from betaplane.rules import Rule


class SGD(TorchCompatible, torch.optim.SGD):
    """torch.optim.SGD, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel, sparse = rules.SGD, torch.optim.SGD, True, True
    words = STATE | TORCH[rules.SGD]
    counts = False

    @torch.no_grad()
    def _by_rule(self, i: int, group: dict[str, Any]) -> None:
        """Step by the rule: a buffer that torch left, which counts no steps, is not the first
        gradient's.
        """
        for p in group["params"]:
            held = self.state.get(p, {})
            if isinstance(held.get("momentum_buffer"), Tensor) and "step" not in held:
                held["step"] = torch.tensor(1.0)
        super()._by_rule(i, group)


class Adagrad(TorchCompatible, torch.optim.Adagrad):
    """torch.optim.Adagrad, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel, sparse = rules.Adagrad, torch.optim.Adagrad, True, True
    hyper = {"initial_accumulator": "initial_accumulator_value"}
    words = STATE | TORCH[rules.Adagrad]

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> None:
        """Load a state as the others do; a parameter without one has the sum that torch's
        constructor makes.
        """
        super().load_state_dict(state_dict, strict)
        for group in self.param_groups:
            for p in group["params"]:
                if not self.state.get(p):
                    start = group["initial_accumulator_value"]
                    total = torch.full_like(p, complex(start, start) if p.is_complex() else start)
                    self.state[p] = {"step": torch.zeros(()), "sum": total.detach()}


class RMSprop(TorchCompatible, torch.optim.RMSprop):
    """torch.optim.RMSprop, safe, quick by default, with the rule's dialects as options."""

    rule, torchs = rules.RMSprop, torch.optim.RMSprop
    words = STATE | TORCH[rules.RMSprop]

    def _exact(self, group: Mapping[str, Any]) -> bool:
        # torch takes the root of a variance that rounding may have made negative
        return not group["centered"]


class Adam(TorchCompatible, torch.optim.Adam):
    """torch.optim.Adam, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel = rules.Adam, torch.optim.Adam, True
    spare = ("max_exp_avg_sq",)

    def _kind(self, group: Mapping[str, Any]) -> type[Rule]:
        return rules.AMSGrad if group["amsgrad"] else self.rule

    @torch.no_grad()
    def _quickly(self, i: int, group: dict[str, Any]) -> bool:
        """Step a group by torch's kernel with the lists of the step before, if they fit still or
        can be made anew.
        """
        if super()._quickly(i, group):
            return True
        found = [p for p in group["params"] if p.grad is not None]
        # by torch.amp, which only torch's own step heeds
        scaled = getattr(self, "found_inf", None) is not None
        quick = may_fuse(group) and plain(group) and not scaled
        if not found or not quick or self._dialect(group) or self._slow(group):
            return False
        known = self.__dict__.setdefault("_lists", {})
        lists, gradients = known.get(i), [p.grad for p in found]
        if (
            lists is None
            or lists.amsgrad != group["amsgrad"]
            or not lists.fits(found, gradients, self.state)
        ):
            lists = known[i] = self._listed(group, found)
        if lists is None:
            return False
        lists.step(group, gradients)
        return True

    def _listed(self, group: dict[str, Any], found: list[torch.Tensor]) -> FusedAdam | None:
        fused = all(self._fuses(group, p) for p in found)
        return FusedAdam.of(found, self.state, group["amsgrad"]) if fused else None


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW, safe, quick by default, with the rule's dialects as options."""

    rule, torchs = rules.AdamW, torch.optim.AdamW


class Adamax(TorchCompatible, torch.optim.Adamax):
    """torch.optim.Adamax, with the rule's dialects as options."""

    rule, torchs = rules.Adamax, torch.optim.Adamax
    words = STATE | TORCH[rules.Adamax]


class NAdam(TorchCompatible, torch.optim.NAdam):
    """torch.optim.NAdam, with the rule's dialects as options."""

    rule, torchs = rules.NAdam, torch.optim.NAdam

    def contents_of(self, group: Mapping[str, Any]) -> dict[str, str]:
        """What each tensor of the state contains, by state key, under a group's options."""
        found = super().contents_of(group)
        return found | {"mu_product": found.pop("c").removeprefix("1 - ")}

    def _rules_state(self, held: dict[str, Any]) -> dict[str, Any]:
        known = {word: value for word, value in held.items() if word != "mu_product"}
        return known | ({"c": 1 - held["mu_product"]} if held else {})

    def _torchs_state(self, held: dict[str, Any]) -> dict[str, Any]:
        known = {word: value for word, value in held.items() if word != "c"}
        return known | ({"mu_product": (1 - held["c"]).to(COUNT)} if held else {})


class RAdam(TorchCompatible, torch.optim.RAdam):
    """torch.optim.RAdam, with the rule's dialects as options."""

    rule, torchs = rules.RAdam, torch.optim.RAdam


class Adafactor(TorchCompatible, torch.optim.Adafactor):
    """torch.optim.Adafactor; the paper's form has floor="square"."""

    rule, torchs = rules.Adafactor, torch.optim.Adafactor
    empty = False  # torch's loop would divide by their size
    hyper = {"clip": "d", "eps1": "eps", "eps2": "eps", "power": "beta2_decay"}
    words = STATE | TORCH[rules.Adafactor]
    usual = {"floor": "root"}

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a group's options ask for; where eps1 is left out, the precision of the
        parameters' type.
        """
        eps1, eps2 = group["eps"]
        if eps1 is None:
            dtype = group["params"][0].dtype if group["params"] else torch.float32
            eps1 = torch.finfo(dtype).eps if group.get("floor", "root") == "root" else 1e-30
        own = {
            name: value for name, value in group.items() if name not in ("eps", "beta2_decay", "d")
        }
        said = {"eps1": eps1, "eps2": eps2, "power": -group["beta2_decay"], "clip": group["d"]}
        return build(self.rule, {**self.usual, **own, **said})

    def _rules_state(self, held: dict[str, Any]) -> dict[str, Any]:
        flat = {"row_var": -1, "col_var": -2}
        return {
            word: value.squeeze(flat[word]) if word in flat else value
            for word, value in held.items()
        }

    def _torchs_state(self, held: dict[str, Any]) -> dict[str, Any]:
        flat = {"row_var": -1, "col_var": -2}
        used = {word: value for word, value in held.items() if word == "step" or value.dim()}
        return {
            word: value.unsqueeze(flat[word]) if word in flat else value
            for word, value in used.items()
        }


ROLL = (SGD, Adagrad, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam, Adafactor)
TWINS: dict[type[Rule], type[TorchCompatible]] = {kind.rule: kind for kind in ROLL}

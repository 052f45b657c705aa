"""The rules torch has too: its classes, with what `Twin` adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from betaplane import rules
from betaplane.optim.group import build
from betaplane.optim.twin import Twin
from betaplane.rules import Rule

V = {"t": "step", "b": "momentum_buffer", "g_bar": "grad_avg"}


class SGD(Twin, torch.optim.SGD):
    """torch.optim.SGD, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel = rules.SGD, torch.optim.SGD, True
    words = V


class Adagrad(Twin, torch.optim.Adagrad):
    """torch.optim.Adagrad, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel = rules.Adagrad, torch.optim.Adagrad, True
    hyper = {"initial_accumulator": "initial_accumulator_value"}
    words = {**V, "v": "sum"}


class RMSprop(Twin, torch.optim.RMSprop):
    """torch.optim.RMSprop, safe, quick by default, with the rule's dialects as options."""

    rule, torchs = rules.RMSprop, torch.optim.RMSprop
    words = {**V, "v": "square_avg"}


class Adam(Twin, torch.optim.Adam):
    """torch.optim.Adam, safe, quick by default, with the rule's dialects as options."""

    rule, torchs, kernel = rules.Adam, torch.optim.Adam, True

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule that a group's options ask for: AMSGrad where amsgrad is set."""
        kind = rules.AMSGrad if group["amsgrad"] else self.rule
        rule = build(kind, group, self.hyper)
        coupled = "decay" not in group and not group["decoupled_weight_decay"]
        return replace(rule, decay="l2" if coupled else group.get("decay", "decoupled"))  # pyright: ignore


class AdamW(Adam, torch.optim.AdamW):
    """torch.optim.AdamW, safe, quick by default, with the rule's dialects as options."""

    rule, torchs = rules.AdamW, torch.optim.AdamW


TWINS: dict[type[Rule], type[Twin]] = {kind.rule: kind for kind in (SGD, Adagrad, RMSprop, Adam, AdamW)}

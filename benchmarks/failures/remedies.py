"""Apply the remedy of an alert to a repetition of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

import betaplane

OWN_OPTIONS = ("clip", "storage", "nonfinite")  # that torch's optimizers do not have


@dataclass(frozen=True)
class Recipe:
    """An optimizer class and its options."""

    kind: type[torch.optim.Optimizer]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, params: Any) -> torch.optim.Optimizer:
        return self.kind(params, **self.options)

    def remedied(self, remedy: Mapping[str, Any]) -> Recipe:
        """The recipe with the remedy's options; `betaplane.AdamW` if only it has one of them."""
        own = {name: remedy[name] for name in OWN_OPTIONS if name in remedy}
        numbers = {name: remedy[name] for name in ("lr", "eps") if name in remedy}
        betas = list(self.options.get("betas", (0.9, 0.999)))
        betas = tuple(remedy.get(f"beta{i + 1}", beta) for i, beta in enumerate(betas))
        options = {**self.options, **numbers, "betas": betas, **own}
        return replace(self, kind=betaplane.AdamW if own else self.kind, options=options)


def apply_remedy(
    step: int,
    alert_step: int,
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    remedy: Mapping[str, Any],
) -> None:
    """Apply, before a step, the part of the remedy that belongs to it."""
    for group in optimizer.param_groups:
        if "lr" in remedy and (step >= alert_step or "reinitialise" not in remedy):
            group["lr"] = min(group["lr"], remedy["lr"])
        if "decay" in remedy:
            group["weight_decay"] = (
                group.setdefault("full_decay", group["weight_decay"])
                * group["lr"]
                / remedy["peak_lr"]
            )
        if "warmup" in remedy:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * min(
                1.0, step / remedy["warmup"]
            )
    if step == alert_step and "step" in remedy:
        for state in optimizer.state.values():
            state["step"].fill_(remedy["step"])
    if step == alert_step // 2 and "reinitialise" in remedy:
        layer = model.get_submodule(remedy["layer"].rpartition(".")[0])
        reinitialize(layer, remedy["reinitialise"])


@torch.no_grad()
def reinitialize(layer: nn.Module, rows: list[int]) -> None:
    """Reinitialize some rows of a layer and of its biases."""
    old = {name: p.clone() for name, p in layer.named_parameters(recurse=False)}
    layer.reset_parameters()  # pyright: ignore[reportCallIssue]
    for name, p in layer.named_parameters(recurse=False):
        old[name][rows] = p[rows]
        p.copy_(old[name])

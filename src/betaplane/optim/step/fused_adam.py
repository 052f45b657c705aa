"""Torch's fused Adam over the same parameters step after step: what was looked up once is only
checked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.tensors.memory_layout import is_dense, same_layout

WORDS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


class FusedAdam:
    """The lists that torch's kernel takes, for the parameters of a group that have a gradient.

    On many small tensors torch spends its time on gathering these lists, on looking at them, and on counting each
    parameter's steps; here the counts are places in one tensor, which counts them all at once.
    """

    def __init__(
        self, params: list[Tensor], states: Mapping[Tensor, dict[str, Any]], amsgrad: bool
    ) -> None:
        self.params, self.amsgrad, self.dtype = params, amsgrad, params[0].dtype
        self.held = [states[p] for p in params]
        self.moments = [[held[word] for held in self.held] for word in WORDS[: 2 + amsgrad]]
        self.steps = torch.stack([held["step"] for held in self.held]).float()
        self.counts = list(self.steps.unbind())
        for held, count in zip(self.held, self.counts, strict=True):
            held["step"] = count
        self.strides = [None if p.is_contiguous() else p.stride() for p in params]

    @classmethod
    def of(
        cls, params: list[Tensor], states: Mapping[Tensor, dict[str, Any]], amsgrad: bool
    ) -> FusedAdam | None:
        """For parameters with gradients; None unless all are of one kind, at work, and laid out
        alike.
        """
        words = {"step", *WORDS[: 2 + amsgrad]}
        first = params[0]
        for p in params:
            held, g = states.get(p), p.grad
            if (
                not held
                or set(held) != words
                or g is None
                or p.device.type != "cpu"
                or p.dtype != first.dtype
            ):
                return None
            if (
                not is_dense(p)
                or not same_layout(g, p)
                or not all(same_layout(held[word], p) for word in words - {"step"})
            ):
                return None
        return cls(params, states, amsgrad)

    def fits(
        self, params: list[Tensor], gradients: list[Tensor], states: Mapping[Tensor, dict[str, Any]]
    ) -> bool:
        """Whether nothing has changed: the same parameters, layouts, gradients like them, and
        states.
        """
        if len(params) != len(self.params):
            return False
        dtype, strided = self.dtype, torch.strided
        for p, known, g, strides in zip(params, self.params, gradients, self.strides, strict=True):
            if (
                p is not known
                or p.dtype is not dtype
                or g.dtype is not dtype
                or g.layout is not strided
            ):
                return False
            if strides is None:
                if not (p.is_contiguous() and g.is_contiguous()):
                    return False
            elif p.stride() != strides or g.stride() != strides:
                return False
        for word, moments in zip(WORDS, self.moments, strict=False):
            for held, moment in zip(self.held, moments, strict=True):
                if held.get(word) is not moment:  # a user may clear a state
                    return False
        return all(states[p] is held for p, held in zip(params, self.held, strict=True)) and all(
            held.get("step") is count for held, count in zip(self.held, self.counts, strict=True)
        )

    def step(self, group: Mapping[str, Any], gradients: list[Tensor]) -> None:
        """One step of all."""
        self.steps += 1
        m, v, *most = self.moments
        beta1, beta2 = group["betas"]
        name = "_fused_adamw_" if group["decoupled_weight_decay"] else "_fused_adam_"
        getattr(torch, name)(
            self.params, gradients, m, v, most[0] if most else [], self.counts,
            amsgrad=self.amsgrad, lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"],
            eps=group["eps"], maximize=group["maximize"], grad_scale=None, found_inf=None,
        )  # fmt: skip

"""Cached tensor lists for torch's fused Adam, which are only revalidated from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.tensors.memory_layout import is_dense, same_layout

MOMENT_KEYS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


class FusedAdam:
    """The lists that torch's kernel takes, for the parameters of a group that have a gradient.

    With many small tensors torch spends its time on gathering these lists, on validating them, and on counting each
    parameter's steps. Here the step counts are views of one tensor, which counts them all at once.
    """

    def __init__(
        self, params: list[Tensor], states: Mapping[Tensor, dict[str, Any]], amsgrad: bool
    ) -> None:
        self.params, self.amsgrad, self.dtype = params, amsgrad, params[0].dtype
        self.param_states = [states[p] for p in params]
        self.moments = [
            [state[key] for state in self.param_states] for key in MOMENT_KEYS[: 2 + amsgrad]
        ]
        self.steps = torch.stack([state["step"] for state in self.param_states]).float()
        self.step_views = list(self.steps.unbind())
        for state, view in zip(self.param_states, self.step_views, strict=True):
            state["step"] = view
        self.strides = [None if p.is_contiguous() else p.stride() for p in params]

    @classmethod
    def of(
        cls, params: list[Tensor], states: Mapping[Tensor, dict[str, Any]], amsgrad: bool
    ) -> FusedAdam | None:
        """The lists for parameters with gradients.

        Returns:
            None unless all are on the CPU, of one dtype, have been stepped before, and are laid out as their states.
        """
        keys = {"step", *MOMENT_KEYS[: 2 + amsgrad]}
        first = params[0]
        for p in params:
            state, g = states.get(p), p.grad
            if not state or set(state) != keys or g is None:
                return None
            if p.device.type != "cpu" or p.dtype != first.dtype:
                return None
            if not is_dense(p) or not same_layout(g, p):
                return None
            if not all(same_layout(state[key], p) for key in keys - {"step"}):
                return None
        return cls(params, states, amsgrad)

    def fits(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        states: Mapping[Tensor, dict[str, Any]],
        amsgrad: bool,
    ) -> bool:
        """Whether the lists are valid for a step of these parameters, gradients and states."""
        if len(params) != len(self.params) or amsgrad != self.amsgrad:
            return False
        dtype, strided = self.dtype, torch.strided
        for p, known, g, strides in zip(params, self.params, grads, self.strides, strict=True):
            if p is not known or p.dtype is not dtype:
                return False
            if g.dtype is not dtype or g.layout is not strided:
                return False
            if strides is None:
                if not (p.is_contiguous() and g.is_contiguous()):
                    return False
            elif p.stride() != strides or g.stride() != strides:
                return False
        for key, moments in zip(MOMENT_KEYS, self.moments, strict=False):
            for state, moment in zip(self.param_states, moments, strict=True):
                if state.get(key) is not moment:  # a user may clear a state
                    return False
        for p, state, view in zip(params, self.param_states, self.step_views, strict=True):
            if states[p] is not state or state.get("step") is not view:
                return False
        return True

    def step(self, group: Mapping[str, Any], grads: list[Tensor]) -> None:
        """Step all parameters."""
        self.steps += 1
        m, v, *largest_v = self.moments
        beta1, beta2 = group["betas"]
        name = "_fused_adamw_" if group["decoupled_weight_decay"] else "_fused_adam_"
        kernel = getattr(torch, name)
        kernel(
            self.params,
            grads,
            m,
            v,
            largest_v[0] if largest_v else [],
            self.step_views,
            amsgrad=self.amsgrad,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
            grad_scale=None,
            found_inf=None,
        )

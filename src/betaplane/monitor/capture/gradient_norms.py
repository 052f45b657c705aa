"""GradientNorms: the gradient norm of every tensor, at every step that the time budget allows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.monitor.capture.distributed import is_sharded
from betaplane.monitor.capture.hooks import gradient_scale
from betaplane.monitor.gradient_history import NO_GRADIENT, GradientHistory
from betaplane.tensors.param_names import ParamNames

# as torch.nn.utils.clip_grad_norm_ uses it
foreach_norm: Any = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]


def gradient_norms(gradients: list[Tensor]) -> Tensor:
    """The norm of each tensor, (n,), in float32, or in float64 if one of them is.

    Example:
        >>> gradient_norms([torch.tensor([3.0, 4.0]), torch.full((2,), 3e4, dtype=torch.float16)])
        tensor([5.0000e+00, 4.2426e+04])
    """
    dtypes = {g.dtype for g in gradients}
    if torch.float64 in dtypes and len(dtypes) > 1:
        gradients = [g.double() for g in gradients]
    wide = torch.float64 if torch.float64 in dtypes else torch.float32
    norms = foreach_norm(gradients, 2, dtype=wide)
    if len({g.device for g in gradients}) > 1:
        norms = [norm.to(norms[0].device) for norm in norms]
    return torch.stack(norms)


class GradientNorms:
    """Measure gradient norms before a step, in one pass over the gradients.

    Sparse and sharded gradients are skipped. Norms on a device arrive one step late, so that no
    step waits for it.

    Args:
        optimizer: owns the parameters.
        names: their names.
        history: receives the norms.
    """

    def __init__(self, optimizer: Optimizer, names: ParamNames, history: GradientHistory) -> None:
        self.optimizer = optimizer
        self.names = names
        self.history = history
        self.parameters: list[Tensor] = []
        self.count = 0  # parameters of the optimizer
        self.pending: tuple[int, list[int], Tensor, list[int]] | None = None

    @torch.no_grad()
    def measure(self, step: int) -> None:
        """Measure the gradients of a step."""
        count = sum(len(group["params"]) for group in self.optimizer.param_groups)
        if count != self.count:
            self.count = count
            self._start()
        self._finish()
        self.history.lrs.add(step, self._largest_lr())
        self.history.trained = [p.requires_grad and not _is_sparse(p.grad) for p in self.parameters]
        measured, gradients = self._gradients()
        if not gradients:
            self.history.add(step, [NO_GRADIENT] * len(self.parameters), self._versions())
            return
        norms = gradient_norms(gradients)
        scale = gradient_scale(self.optimizer)
        self.pending = step, measured, norms if scale == 1 else norms / scale, self._versions()
        if norms.device.type == "cpu":
            self._finish()

    def _start(self) -> None:
        self.parameters = [
            p for group in self.optimizer.param_groups for p in group["params"] if not is_sharded(p)
        ]
        self.names.add_new()
        layers = [self.names.get(p, "") for p in self.parameters]
        self.history.is_whole = len(self.parameters) == self.count
        self.history.start(layers, [p.dim() > 1 for p in self.parameters])

    def _largest_lr(self) -> float:
        """The largest learning rate of all groups; nan if none has one, or all are on a device."""
        lrs = [group.get("lr") for group in self.optimizer.param_groups]
        here = [lr for lr in lrs if not isinstance(lr, Tensor) or lr.device.type == "cpu"]
        return max((float(lr) for lr in here if lr is not None), default=math.nan)

    def _gradients(self) -> tuple[list[int], list[Tensor]]:
        measured, gradients = [], []
        for i, p in enumerate(self.parameters):
            g = p.grad
            if g is not None and g.layout is torch.strided and g.numel():
                measured.append(i)
                gradients.append(torch.view_as_real(g) if g.is_complex() else g)
        return measured, gradients

    def _versions(self) -> list[int]:
        """How often each gradient was changed in place; -1 without a gradient."""
        return [-1 if p.grad is None else p.grad._version for p in self.parameters]

    def _finish(self) -> None:
        if self.pending is None:
            return
        step, measured, norms, versions = self.pending
        self.pending = None
        values = [NO_GRADIENT] * len(self.parameters)
        for i, norm in zip(measured, norms.tolist(), strict=True):
            values[i] = norm
        self.history.add(step, values, versions)


def _is_sparse(g: Tensor | None) -> bool:
    return g is not None and g.layout is not torch.strided

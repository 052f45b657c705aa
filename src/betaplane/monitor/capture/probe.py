"""Probe: checks of parameters, gradients and modules that are made only on demand."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.optim.optimizer import Optimizer

from betaplane.tensors.dtensor import local_tensor
from betaplane.tensors.param_names import ParamNames

MODE_DEPENDENT = (_BatchNorm, _DropoutNd)  # layers that compute something else in evaluation mode


class Probe:
    """Find non-finite elements, parameters without an optimizer, and modules in evaluation mode.

    Each search for non-finite elements reads all of them.

    Args:
        optimizer: owns the parameters.
        names: their names.
        model: the trained model, if it is known.

    Example:
        >>> p = torch.nn.Parameter(torch.tensor([1.0, float("nan")]))
        >>> optimizer = torch.optim.Adam([("w", p)])
        >>> probe = Probe(optimizer, ParamNames(optimizer))
        >>> probe.nonfinite_weights(), probe.nonfinite_gradients()
        (['w'], [])
    """

    def __init__(
        self, optimizer: Optimizer, names: ParamNames, model: nn.Module | None = None
    ) -> None:
        self.optimizer = optimizer
        self.names = names
        self.model = model

    @property
    def passes_nonfinite(self) -> bool:
        """Whether the optimizer uses gradients that are not finite, as most do."""
        return getattr(self.optimizer, "nonfinite", "pass") == "pass"

    def nonfinite_weights(self) -> list[str]:
        """The parameters with NaN or infinity in their weights."""
        return self._nonfinite((p, p) for p in self._parameters())

    def nonfinite_gradients(self) -> list[str]:
        """The parameters with NaN or infinity in their gradient, as it is now."""
        return self._nonfinite((p, p.grad) for p in self._parameters())

    def not_in_optimizer(self) -> list[str]:
        """The model's parameters that have a gradient but are not in the optimizer."""
        if self.model is None:
            return []
        owned = set(self._parameters())
        return [
            name
            for name, p in self.model.named_parameters()
            if p.grad is not None and p not in owned and bool(p.grad.any())
        ]

    def frozen(self) -> tuple[list[str], float]:
        """The optimizer's parameters that require no gradient, and their share of its elements."""
        frozen = [p for p in self._parameters() if not p.requires_grad]
        total = sum(map(Tensor.numel, self._parameters()))
        return [self.names.get(p, "") for p in frozen], sum(map(Tensor.numel, frozen)) / max(
            total, 1
        )

    def in_evaluation(self) -> list[str]:
        """The normalization and dropout layers of a model that is in evaluation mode."""
        if self.model is None or self.model.training:
            return []
        return [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, MODE_DEPENDENT)
        ]

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @torch.no_grad()
    def _nonfinite(self, values: Iterable[tuple[Tensor, Tensor | None]]) -> list[str]:
        return [
            self.names.get(p, "")
            for p, value in values
            if value is not None and not bool(_dense(value).isfinite().all())
        ]


def _dense(value: Tensor) -> Tensor:
    value = local_tensor(value.detach())
    return value.coalesce().values() if value.is_sparse else value

"""A recorded stream of gradients: one row per step, one column per sampled coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput


@dataclass(frozen=True)
class Layer:
    """One parameter tensor of the model, and the number of its recorded coordinates."""

    name: str
    shape: tuple[int, ...]
    sampled: int  # columns of the stream, in [0, size]

    @property
    def size(self) -> int:
        """The number of elements of the tensor."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True, eq=False)
class Gradients:
    """Minibatch gradients of sampled coordinates, step by step.

    Args:
        values: (T, d), gradient units; row t is the gradient before step t, columns in the order of
            `layers`.
        layers: the tensors of the columns; their `sampled` add up to d.
        index: (d,), int64, the position of each column in its flattened tensor.
        batch_size: examples per row; None if unknown.
        frozen: whether the weights were constant while the rows were recorded.
        step: optimizer steps before the first row, if known.
        changed: how `values` differ from the recording ("averaged", "extrapolated"); "" if they do
            not.
        about: origin of the file: commit, versions, device, ...

    Raises:
        BadInput: values are not a matrix, not finite, or do not match the layers.

    Example:
        >>> stream = Gradients(torch.tensor([[4.0], [-1.0], [-1.0], [-1.0]]), (Layer("x", (1,), 1),))
        >>> stream.steps, stream.coordinates, stream.mean.tolist()
        (4, 1, [0.25])
    """

    values: Tensor
    layers: tuple[Layer, ...]
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    batch_size: int | None = None
    frozen: bool = True
    step: int = 0
    changed: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.values, self.layers, self.index)

    def __repr__(self) -> str:
        size = f"{self.steps} rows of {self.coordinates} coordinates of {len(self.layers)} tensors"
        return f"Gradients({size}, batch_size={self.batch_size}, frozen={self.frozen})"

    @property
    def steps(self) -> int:
        """T, the number of rows."""
        return self.values.shape[0]

    @property
    def coordinates(self) -> int:
        """d, the number of columns."""
        return self.values.shape[1]

    @property
    def mean(self) -> Tensor:
        """The mean gradient, (d,), float64."""
        return self.values.double().mean(dim=0)

    @property
    def owner(self) -> Tensor:
        """The layer index of each column, (d,), int64."""
        return torch.repeat_interleave(torch.tensor([layer.sampled for layer in self.layers]))

    @property
    def weights(self) -> Tensor:
        """The number of elements that each recorded one represents, by layer, (layers,), float64."""
        weights = [layer.size / max(layer.sampled, 1) for layer in self.layers]
        return torch.tensor(weights, dtype=torch.float64)

    def with_(self, **changes: Any) -> Gradients:
        """The same stream with some fields replaced, checked again."""
        return replace(self, **changes)


def _check(values: Tensor, layers: tuple[Layer, ...], index: Tensor) -> None:
    shape, columns = tuple(values.shape), sum(layer.sampled for layer in layers)
    if len(shape) != 2 or shape[0] < 2 or shape[1] < 1 or shape[1] != columns:
        allowed = f"(T, {columns}) with T >= 2"
        raise BadInput(
            "The shape of the gradients does not match the layers",
            value=shape,
            allowed=allowed,
            where="Gradients",
        )
    if len(index) not in (0, columns):
        raise BadInput(
            "The index does not match the columns",
            value=len(index),
            allowed=str(columns),
            where="Gradients",
        )
    not_finite = int((~torch.isfinite(values)).sum())
    if not_finite:
        raise BadInput(
            "The recorded gradients contain values that are not finite",
            value=not_finite,
            allowed="0 NaN or infinite entries",
            where=f"values of shape {shape}",
            instead="a recording from before the loss diverged",
        )

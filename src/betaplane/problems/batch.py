"""Take a minibatch apart: its tensors, its number of examples, its arguments and target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from betaplane.errors import BadInput


def to_device(batch: Any, device: str) -> Any:
    """The batch with all its tensors on a device.

    Args:
        batch: a tensor, an object with a method `to`, or a tuple, list, mapping or dataclass of
            these. Anything else is returned unchanged.
        device: the device.

    Example:
        >>> import torch
        >>> to_device({"x": torch.ones(1), "ids": ["a"]}, "cpu")
        {'x': tensor([1.]), 'ids': ['a']}
    """
    if isinstance(batch, Tensor) or callable(getattr(batch, "to", None)):
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(
            batch, **{name: to_device(value, device) for name, value in members(batch).items()}
        )
    return batch


def members(batch: Any) -> dict[str, Any]:
    """The named parts of a batch: of a mapping, a dataclass or another object.

    Fields of a dataclass that its constructor does not take are omitted.
    """
    if isinstance(batch, Mapping):
        return dict(batch)
    if dataclasses.is_dataclass(batch):
        return {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.init}
    return dict(getattr(batch, "__dict__", {}))


def examples_in(batch: Any) -> int:
    """The number of examples in a batch: the first dimension of its first tensor; 1 if none.

    Example:
        >>> import torch
        >>> examples_in((torch.ones(4, 2), torch.ones(4)))
        4
    """
    return next((len(tensor) for tensor in tensors_in(batch) if tensor.dim()), 1)


def tensors_in(batch: Any) -> list[Tensor]:
    """The tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        return [batch]
    parts = batch if isinstance(batch, (tuple, list)) else members(batch).values()
    return [tensor for part in parts for tensor in tensors_in(part)]


def split_target(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """The arguments of the module, and the target: the last of a tuple or list.

    Raises:
        BadInput: the batch has no last element that could be the target.
    """
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields") and len(batch) >= 2:
        return tuple(batch[:-1]), batch[-1]
    raise BadInput(
        "loss(output, target) needs batches that end with the target",
        value=describe(batch),
        allowed="a tuple or list (inputs, ..., target)",
        where="data",
        instead="def loss(model, batch): ...  # returns the loss of any batch",
    )


def own_loss(module: nn.Module, batch: Any) -> Any:
    """The `.loss` of a model's output: a mapping becomes keyword arguments, a tuple positional ones.

    Raises:
        BadInput: the output has no loss.
    """
    if isinstance(batch, Mapping):
        output = module(**batch)
    else:
        output = module(*batch) if isinstance(batch, (tuple, list)) else module(batch)
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if loss is None:
        raise BadInput(
            "The model's output has no loss",
            value=type(output).__name__,
            allowed="an output with .loss, if no loss is given (Hugging Face: batches with labels)",
            where="loss",
            instead="loss=torch.nn.functional.cross_entropy",
        )
    return loss


def describe(batch: Any) -> str:
    """A batch in a few words: its type, and the names or number of its parts."""
    kind = type(batch).__name__
    if isinstance(batch, Tensor):
        return f"one tensor of shape {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return f"{kind} with {', '.join(map(str, batch))}"
    return f"{kind} of {len(batch)}" if isinstance(batch, (tuple, list)) else kind

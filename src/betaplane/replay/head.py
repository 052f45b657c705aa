"""The head of a file of recorded gradients: what it may say, and the digest of what it belongs to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.replay.gradients import Layer
from betaplane.text import printable

LARGEST = 2**53  # elements of a tensor, steps, examples


def checked_head(
    head: Mapping[str, Any], about: Mapping[str, Any], index: Tensor
) -> dict[str, Any]:
    """The fields of a `Gradients` that its head gives.

    Args:
        head: layers, batch size and the rest, as JSON gives them.
        about: what tells where the file comes from.
        index: (d,), the place of each column in its flattened tensor, or empty.

    Raises:
        ValueError: a field has another type than its own, or a value that no recording has.
    """
    layers = tuple(_layer(*each) for each in head["layers"])
    if len({layer.name for layer in layers}) < len(layers):
        raise ValueError("two layers have one name")
    _check_index(index, layers)
    return {
        "layers": layers,
        "batch_size": None
        if head["batch_size"] is None
        else _number(head["batch_size"], "batch_size", 1),
        "frozen": _of_type(head["frozen"], "frozen", bool),
        "step": _whole(head["step"], "step"),
        "changed": printable(_of_type(head.get("changed", ""), "changed", str)),
        "about": {printable(name): printable(value) for name, value in about.items()},
    }


def digest(told: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata, but for the digest in it, and of the tensors with their dtypes and
    shapes.
    """
    found = hashlib.sha256()
    for name in sorted(set(told) - {"digest"}):
        found.update(repr((name, told[name])).encode())
    for name, x in sorted(tensors.items()):
        found.update(repr((name, str(x.dtype), tuple(x.shape))).encode())
        found.update(x.contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _layer(name: Any, shape: Any, sampled: Any) -> Layer:
    """One tensor of the model."""
    shape = tuple(_whole(n, "a side of a shape") for n in shape)
    if math.prod(shape) > LARGEST:
        raise ValueError(f"a tensor has more than {LARGEST:,} elements")
    layer = Layer(
        printable(_of_type(name, "the name of a layer", str)), shape, _whole(sampled, "sampled")
    )
    if layer.sampled > layer.size:
        raise ValueError(
            f"of {layer.name!r} {layer.sampled:,} elements are sampled, and it has {layer.size:,}"
        )
    return layer


def _check_index(index: Tensor, layers: tuple[Layer, ...]) -> None:
    """Refuse places outside of their tensors."""
    sampled = torch.tensor([layer.sampled for layer in layers])
    if len(index) and len(index) == int(sampled.sum()):
        sizes = torch.repeat_interleave(torch.tensor([layer.size for layer in layers]), sampled)
        if bool(((index < 0) | (index >= sizes)).any()):
            raise ValueError("the index has places outside of their tensors")


def _of_type(value: Any, name: str, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} is a {type(value).__name__}, allowed a {kind.__name__}")
    return value


def _whole(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{name} is no whole number in [0, {LARGEST:,}]")
    return value


def _number(value: Any, name: str, least: float) -> float:
    if type(value) not in (int, float) or not least <= value <= LARGEST:
        raise ValueError(f"{name} is no number >= {least}")
    return value

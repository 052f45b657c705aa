"""The header of a file of recorded gradients: checks of its fields, and the digest of the file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.replay.gradients import Layer
from betaplane.text import printable

MAX_COUNT = 2**53  # elements of a tensor, steps, examples


def checked_head(
    head: Mapping[str, Any], about: Mapping[str, Any], index: Tensor
) -> dict[str, Any]:
    """The fields of a `Gradients` that are in the header.

    Args:
        head: layers, batch size and so on, as parsed JSON.
        about: the origin of the file.
        index: (d,), the position of each column in its flattened tensor, or empty.

    Raises:
        ValueError: a field has the wrong type, or a value that no recording has.
    """
    layers = tuple(_layer(*fields) for fields in head["layers"])
    if len({layer.name for layer in layers}) < len(layers):
        raise ValueError("two layers have the same name")
    _check_index(index, layers)
    batch_size = head["batch_size"]
    return {
        "layers": layers,
        "batch_size": None if batch_size is None else _number(batch_size, "batch_size", 1),
        "frozen": _of_type(head["frozen"], "frozen", bool),
        "step": _whole(head["step"], "step"),
        "changed": printable(_of_type(head.get("changed", ""), "changed", str)),
        "about": {printable(name): printable(value) for name, value in about.items()},
    }


def digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the metadata without its own digest, and of the tensors with their dtypes and
    shapes.
    """
    sha = hashlib.sha256()
    for name in sorted(set(metadata) - {"digest"}):
        sha.update(repr((name, metadata[name])).encode())
    for name, x in sorted(tensors.items()):
        sha.update(repr((name, str(x.dtype), tuple(x.shape))).encode())
        sha.update(x.contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _layer(name: Any, shape: Any, sampled: Any) -> Layer:
    """One tensor of the model."""
    shape = tuple(_whole(n, "a side of a shape") for n in shape)
    if math.prod(shape) > MAX_COUNT:
        raise ValueError(f"a tensor has more than {MAX_COUNT:,} elements")
    name = printable(_of_type(name, "the name of a layer", str))
    layer = Layer(name, shape, _whole(sampled, "sampled"))
    if layer.sampled > layer.size:
        sizes = f"{layer.sampled:,} sampled elements, but {layer.size:,} in total"
        raise ValueError(f"{layer.name!r} has {sizes}")
    return layer


def _check_index(index: Tensor, layers: tuple[Layer, ...]) -> None:
    """Raise ValueError for positions outside of their tensors."""
    sampled = torch.tensor([layer.sampled for layer in layers])
    if len(index) and len(index) == int(sampled.sum()):
        sizes = torch.repeat_interleave(torch.tensor([layer.size for layer in layers]), sampled)
        if bool(((index < 0) | (index >= sizes)).any()):
            raise ValueError("the index has positions outside of their tensors")


def _of_type(value: Any, name: str, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} is of type {type(value).__name__}, expected {kind.__name__}")
    return value


def _whole(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{name} is not a whole number in [0, {MAX_COUNT:,}]")
    return value


def _number(value: Any, name: str, least: float) -> float:
    if type(value) not in (int, float) or not least <= value <= MAX_COUNT:
        raise ValueError(f"{name} is not a number >= {least}")
    return value

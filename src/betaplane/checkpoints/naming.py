"""Names of numbered layers, if the shapes in the file determine them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from betaplane.checkpoints.layer import FIRST, SECOND, Layer
from betaplane.checkpoints.layout import Contents
from betaplane.checkpoints.stored import InertTensor

Shape = tuple[int, ...]
NUMBER = re.compile(r"\d+")
# of normalization layers; they are not optimized
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SAVE_NAMES = "Save an optimizer of model.named_parameters() to get names."
UNNAMED = (
    f"The file has no parameter names: layers are numbered in the optimizer's order. {SAVE_NAMES}"
)
AMBIGUOUS = (
    "Several tensors of the model have the shape of a numbered layer, so its name is unknown. "
    f"{SAVE_NAMES}"
)


def named_layers(contents: Contents, in_order: bool = False) -> tuple[list[Layer], list[str]]:
    """All layers with unique names, and notes on names that are unknown.

    A number stays a number ("parameter 3") unless exactly one parameter of the model and one layer
    of the optimizer have its shape. Groups can list parameters in any order, so the order proves
    nothing, unless the library that made the groups is known to keep the model's order. Then the
    names of repeated blocks, which differ only in numbers, are known too.

    Args:
        contents: the optimizers and models of a file.
        in_order: whether groups list parameters in the model's order.
    """
    models = [_shapes(model) for model in contents.models]
    optimizers = [(place, _named(layers, models)) for place, layers in contents.optimizers]
    if in_order:
        optimizers = [(place, _blocks_named(layers, models)) for place, layers in optimizers]
    notes = _notes([layer for _, layers in optimizers for layer in layers], bool(models))
    return _with_unique_names(optimizers), notes


def _notes(layers: list[Layer], has_model: bool) -> list[str]:
    if not any(layer.numbered for layer in layers):
        return []
    return [AMBIGUOUS if has_model else UNNAMED]


def _named(layers: list[Layer], models: Sequence[dict[str, Shape]]) -> list[Layer]:
    """The layers of one optimizer; numbers become proved names, or "parameter 3"."""
    numbered = [_shape(layer) for layer in layers if layer.numbered]
    shapes = Counter(shape for shape in numbered if shape is not None)
    possible = [model for model in models if not shapes - Counter(model.values())]
    return [_with_name(layer, shapes, possible) if layer.numbered else layer for layer in layers]


def _with_name(layer: Layer, shapes: Counter[Shape], models: Sequence[dict[str, Shape]]) -> Layer:
    name = _proved_name(_shape(layer), shapes, models)
    return replace(layer, name=name or f"parameter {layer.name}", numbered=name is None)


def _blocks_named(layers: list[Layer], models: Sequence[dict[str, Shape]]) -> list[Layer]:
    """The layers of one optimizer; numbers become names that differ only in their numbers."""
    by_shape: dict[Shape, list[str]] = {}
    for name, shape in (models[0] if len(models) == 1 else {}).items():
        by_shape.setdefault(shape, []).append(name)
    numbered = Counter(_shape(layer) for layer in layers if layer.numbered)
    names = {
        shape: iter(sorted(names, key=_numbers))
        for shape, names in by_shape.items()
        if len({NUMBER.sub("#", name) for name in names}) == 1 and numbered[shape] == len(names)
    }
    return [
        replace(layer, name=next(names[shape]), numbered=False)
        if layer.numbered and (shape := _shape(layer)) in names
        else layer
        for layer in layers
    ]


def _numbers(name: str) -> list[int]:
    return [int(number) for number in NUMBER.findall(name)]


def _proved_name(
    shape: Shape | None, shapes: Counter[Shape], models: Sequence[dict[str, Shape]]
) -> str | None:
    """The only name with this shape, if it is the same in every model that the optimizer can fit."""
    if shape is None or shapes[shape] > 1 or not models:
        return None
    names = [[name for name, other in model.items() if other == shape] for model in models]
    if any(len(candidates) != 1 for candidates in names):
        return None
    only = [name for (name,) in names]
    shortest = min(only, key=len)  # the others may have a prefix such as "module."
    return shortest if all(f".{name}".endswith(f".{shortest}") for name in only) else None


def _shape(layer: Layer) -> Shape | None:
    moment = next((layer.held[key] for key in (*FIRST, *SECOND) if key in layer.held), None)
    if isinstance(moment, InertTensor):
        packed = getattr(moment, "_shape", None)  # of two codes per byte
        return tuple(packed) if packed else tuple(moment.codes.shape)  # pyright: ignore
    tensor = moment
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None


def _shapes(model: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Shapes of all possible parameters; only the first of tied tensors."""
    shapes, seen = {}, set()
    for name, x in model.items():
        memory = (x.untyped_storage().data_ptr(), x.storage_offset(), tuple(x.shape))
        is_tied = x.numel() > 0 and memory in seen
        if x.is_floating_point() and not name.endswith(BUFFERS) and not is_tied:
            shapes[name] = tuple(x.shape)
        seen.add(memory)
    return shapes


def _with_unique_names(optimizers: Sequence[tuple[str, list[Layer]]]) -> list[Layer]:
    """The layers of all optimizers; names that occur more than once get the optimizer's place as a
    prefix.
    """
    count = Counter(layer.name for _, layers in optimizers for layer in layers)
    return [
        replace(layer, name=_unique(layer.name, place, count), optimizer=place)
        for place, layers in optimizers
        for layer in layers
    ]


def _unique(name: str, place: str, count: Counter[str]) -> str:
    return f"{place}: {name}" if count[name] > 1 and place else name

"""Names of layers that a state dict numbers: only those that the shapes in the file prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from betaplane.checkpoints.layer import FIRST, SECOND, Layer
from betaplane.checkpoints.layout import Contents
from betaplane.checkpoints.stored import InertTensor

Shape = tuple[int, ...]
# of normalization: no optimizer has them
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SAVE_NAMES = "Save an optimizer of model.named_parameters() to have names."
UNNAMED = f"The file has no names of parameters: layers are numbered in the optimizer's order. {SAVE_NAMES}"
AMBIGUOUS = (
    "Layers with a number have the shape of several tensors of the model, and the file does not say which of them they "
    f"are. {SAVE_NAMES}"
)


def named(found: Contents) -> tuple[list[Layer], list[str]]:
    """All layers, each under a name of its own, and what cannot be known of the names.

    A number stays a number ("parameter 3") unless its shape is that of one parameter of the model and of one layer of
    its optimizer: groups can list parameters in any order, so nothing follows from the order.

    Args:
        found: the optimizers and models of a file.
    """
    models = [_shapes(model) for model in found.models]
    optimizers = [(place, _named(layers, models)) for place, layers in found.optimizers]
    notes = _notes([layer for _, layers in optimizers for layer in layers], bool(models))
    return _apart(optimizers), notes


def _notes(layers: list[Layer], has_model: bool) -> list[str]:
    if not any(layer.numbered for layer in layers):
        return []
    return [AMBIGUOUS if has_model else UNNAMED]


def _named(layers: list[Layer], models: Sequence[dict[str, Shape]]) -> list[Layer]:
    """The layers of one optimizer: numbers become the names that are proved, or "parameter 3"."""
    shapes = Counter(
        shape for layer in layers if layer.numbered and (shape := _shape(layer)) is not None
    )
    fitting = [model for model in models if not shapes - Counter(model.values())]
    return [_with_name(layer, shapes, fitting) if layer.numbered else layer for layer in layers]


def _with_name(layer: Layer, shapes: Counter[Shape], models: Sequence[dict[str, Shape]]) -> Layer:
    name = _proved(_shape(layer), shapes, models)
    return replace(layer, name=name or f"parameter {layer.name}", numbered=name is None)


def _proved(
    shape: Shape | None, shapes: Counter[Shape], models: Sequence[dict[str, Shape]]
) -> str | None:
    """The one name of a shape, if every model that the optimizer can belong to has the same one."""
    if shape is None or shapes[shape] > 1 or not models:
        return None
    names = [[name for name, other in model.items() if other == shape] for model in models]
    if any(len(each) != 1 for each in names):
        return None
    shortest = min((each[0] for each in names), key=len)  # others may have a prefix, as "module."
    return shortest if all(f".{each[0]}".endswith(f".{shortest}") for each in names) else None


def _shape(layer: Layer) -> Shape | None:
    moment = next((layer.held[word] for word in (*FIRST, *SECOND) if word in layer.held), None)
    kept = moment.codes if isinstance(moment, InertTensor) else moment  # pyright: ignore
    return tuple(kept.shape) if isinstance(kept, Tensor) else None


def _shapes(model: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Shapes of what may be a parameter; of tied tensors only the first."""
    found, seen = {}, set()
    for name, x in model.items():
        memory = (x.untyped_storage().data_ptr(), x.storage_offset(), tuple(x.shape))
        if (
            x.is_floating_point()
            and not name.endswith(BUFFERS)
            and not (x.numel() and memory in seen)
        ):
            found[name] = tuple(x.shape)
        seen.add(memory)
    return found


def _apart(optimizers: Sequence[tuple[str, list[Layer]]]) -> list[Layer]:
    """The layers of all optimizers; the place of the optimizer is put before names that several of
    them have.
    """
    count = Counter(layer.name for _, layers in optimizers for layer in layers)
    return [
        replace(layer, name=f"{place}: {layer.name}") if count[layer.name] > 1 and place else layer
        for place, layers in optimizers
        for layer in layers
    ]

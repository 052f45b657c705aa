"""Faults of the model that is saved beside an optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from betaplane.checkpoints.layer import Layer

Model = Mapping[str, Tensor]


def model_problems(layers: Sequence[Layer], models: Sequence[Model]) -> Iterator[tuple[str, str]]:
    """Sentences about weights that do not fit the optimizer or are not finite, with rule ids.

    Args:
        layers: of all optimizers.
        models: the dicts of weights in the checkpoint.
    """
    for model in models:
        for name, x in model.items():
            if x.is_floating_point() and not bool(x.isfinite().all()):
                yield f"{name} has weights that are nan or infinite", "weights-not-finite"
                break
    if models:
        yield from _misfits(layers, models)


def _misfits(layers: Iterable[Layer], models: Sequence[Model]) -> Iterator[tuple[str, str]]:
    """The first layer whose moments have a shape that its weights do not have."""
    shapes = {x.shape for model in models for x in model.values()}
    for layer in layers:
        m = layer.m
        if m is None or not layer.adam:
            continue
        named = {model[layer.name].shape for model in models if layer.name in model}
        if named and m.shape not in named:
            weights = f"its weights have {tuple(next(iter(named)))}"
            yield f"the moments of {layer.name} have shape {tuple(m.shape)}, {weights}", "shape"
            return
        # flat moments are those of groups or shards
        if not named and m.dim() > 1 and m.shape not in shapes:
            what = f"no weights in this checkpoint have the shape {tuple(m.shape)} of {layer.name}"
            yield f"{what}: the optimizer belongs to another model", "shape"
            return
